"""Files made out of data in the background, and "Unduhan saya" where they are fetched."""
