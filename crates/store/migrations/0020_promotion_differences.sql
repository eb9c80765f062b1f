-- What a promotion changes, as it was shown to whoever asked for it. Beside the promotions, because no task looks at it.

CREATE TABLE promotion_differences (
    promotion_id BIGINT PRIMARY KEY REFERENCES promotions (id) ON DELETE CASCADE,
    difference   TEXT NOT NULL
);
