-- The name of the key that a secret is sealed with; NULL where it was sealed before keys had names.

ALTER TABLE secrets ADD COLUMN key_name TEXT;
