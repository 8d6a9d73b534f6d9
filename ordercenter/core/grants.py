"""What the role that the order center logs in with may do: all but rewrite what is append-only.

Two roles share the database (ADR 0032). The owner makes the tables and is used by migrations;
the application's role reads and writes rows and owns nothing, so that no statement of ours, and
none slipped into one, can alter a table, switch a trigger off, or change what was recorded.
"""

from typing import Final

APPEND_ONLY: Final = (
    "audit_auditrecord",
    "audit_auditlink",
    "audit_auditseal",
    "inventory_stockmovement",
)
"""Tables of which the application's role may read and add rows, and nothing else."""
REWRITING: Final = ("UPDATE", "DELETE", "TRUNCATE")


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def grant_statement(role: str) -> str:
    """SQL that gives ``role`` its rights in the schema in use; may be repeated at any time.

    Run by the owner of the tables. Where there is no such role it does nothing.
    """
    kept = ", ".join(_text(table) for table in APPEND_ONLY)
    return f"""
        DO $$
        DECLARE
            app text := {_text(role)};
            kept text[] := ARRAY[{kept}];
            found record;
        BEGIN
            IF to_regrole(quote_ident(app)) IS NULL OR app = current_user THEN
                RETURN;
            END IF;
            EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), app);
            EXECUTE format(
                'GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA %I TO %I',
                current_schema(), app
            );
            FOR found IN
                SELECT oid::regclass AS name, relname = ANY(kept) AS is_kept FROM pg_class
                WHERE relnamespace = current_schema()::regnamespace
                  AND relkind IN ('r', 'p', 'v', 'm') AND pg_get_userbyid(relowner) = current_user
            LOOP
                IF found.is_kept THEN
                    EXECUTE format('REVOKE ALL ON %s FROM %I', found.name, app);
                    EXECUTE format('GRANT SELECT, INSERT ON %s TO %I', found.name, app);
                ELSE
                    EXECUTE format(
                        'GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO %I', found.name, app
                    );
                END IF;
            END LOOP;
        END $$
    """  # noqa: S608 - both names are quoted


RIGHTS: Final = """
    SELECT t.name, r.verb FROM unnest(%s::text[]) AS t(name), unnest(%s::text[]) AS r(verb)
    WHERE CASE WHEN to_regclass(t.name) IS NULL OR to_regrole(quote_ident(%s)) IS NULL THEN false
               ELSE has_table_privilege(%s, to_regclass(t.name), r.verb) END
    ORDER BY 1, 2
"""
"""Asked with APPEND_ONLY, REWRITING and the role twice: what it may do and must not."""
