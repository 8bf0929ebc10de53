"""The demo office: its agency web service and what the first start seeds."""
