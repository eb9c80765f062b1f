-- How far somebody has got who goes through rows in the order of their numbers.

CREATE TABLE positions (
    name     TEXT PRIMARY KEY,
    position BIGINT NOT NULL
);
