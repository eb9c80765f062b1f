-- Who did it and by what, as it was known then: keys and people go, what they did stays.

ALTER TABLE audit_log ADD COLUMN doer TEXT;
