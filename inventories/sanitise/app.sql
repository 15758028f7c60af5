-- This script runs in one transaction on the restored copy, before the copy replaces the database of staging.
-- Remove all personal data here. If the script fails, the refresh fails and the copy is dropped. Example:
--
-- UPDATE users SET name = 'User ' || id, email = 'user-' || id || '@acme.example', phone = NULL;
-- TRUNCATE sessions, password_resets;

DO $$ BEGIN
    RAISE EXCEPTION 'inventories/sanitise/app.sql is not written yet: add the SQL that removes personal data';
END $$;
