#!/bin/sh
# Creates Temporal's two databases and brings their schemas up to date. A step that was done before does nothing.
# The tool itself reads SQL_HOST, SQL_PORT, SQL_PLUGIN, SQL_USER and SQL_PASSWORD.
set -eu

# set_up DATABASE SCHEMA
set_up() {
	temporal-sql-tool --database "$1" create-database
	temporal-sql-tool --database "$1" setup-schema --version 0.0
	temporal-sql-tool --database "$1" update-schema --schema-dir "/etc/temporal/schema/postgresql/v12/$2/versioned"
}

set_up temporal temporal
set_up temporal_visibility visibility
