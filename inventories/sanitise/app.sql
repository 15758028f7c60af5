-- Run in one transaction on the copy of production's app, before anybody sees it: remove here what may not
-- leave production. As long as this script fails, so does the refresh, and the copy is dropped.
--
-- UPDATE users SET name = 'User ' || id, email = 'user-' || id || '@acme.example', phone = NULL;
-- TRUNCATE sessions, password_resets;

DO $$ BEGIN
    RAISE EXCEPTION 'inventories/sanitise/app.sql is not written yet: say there what may not leave production';
END $$;
