"""What people are told of: mails in an outbox, notices under the bell."""
