package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/blang/semver/v4"
	"github.com/jackc/pgx/v5"
	"go.temporal.io/server/common/log"
	postgresschema "go.temporal.io/server/schema/postgresql/v12"
	schematool "go.temporal.io/server/tools/common/schema"
	sqltool "go.temporal.io/server/tools/sql"
	"go.uber.org/zap"
)

// schema is one of Temporal's two schemas on PostgreSQL.
type schema struct {
	name    string // its name in Temporal's schema tool
	version string // the version that this server needs
	table   string // a table that the other schema does not have
}

var (
	executionsSchema = schema{"postgresql/v12/temporal", postgresschema.Version, "history_node"}
	visibilitySchema = schema{"postgresql/v12/visibility", postgresschema.VisibilityVersion, "executions_visibility"}
)

// versionTables are where Temporal's tool keeps the version.
var versionTables = []string{"schema_update_history", "schema_version"}

// noSchema is the version of a database in which the tool has begun and has made no table of the schema yet.
const noSchema = "0.0"

// installed is the version of the schema in the database; "" if there is none. It fails if the database is another program's, or of a newer
// server.
func (d database) installed(ctx context.Context, conn *pgx.Conn) (string, error) {
	tables, err := tables(ctx, conn)
	if err != nil {
		return "", err
	}
	if len(tables) == 0 {
		return "", nil
	}
	foreign := func(why string) error {
		return fmt.Errorf("database %s was made by another program: %s. Use a database of its own", d.config.Database, why)
	}
	if !slices.Contains(tables, "schema_version") {
		return "", foreign("it has the table " + tables[0] + " and no schema_version")
	}
	var version string
	err = conn.QueryRow(ctx, "SELECT curr_version FROM schema_version WHERE version_partition = 0 AND db_name = $1", d.config.Database).Scan(&version)
	switch {
	case code(err) == "42703": // undefined_column
		return "", foreign("its schema_version is not Temporal's")
	case errors.Is(err, pgx.ErrNoRows):
		return "", d.withoutVersion(ctx, conn, tables)
	case err != nil:
		return "", err
	}
	there, err := semver.ParseTolerant(version)
	if err != nil {
		return "", foreign(fmt.Sprintf("its schema_version is %q", version))
	}
	needed, err := semver.ParseTolerant(d.version)
	switch {
	case err != nil:
		return "", err
	case there.GT(needed):
		return "", fmt.Errorf("database %s has version %s of Temporal's schema, and this server knows up to %s: use a newer version of Storekeeper",
			d.config.Database, version, d.version)
	case version != noSchema && !slices.Contains(tables, d.table):
		return "", fmt.Errorf("database %s has another schema than is wanted here, for it has no table %s: the URL names the database of "+
			"executions, and that of visibility has the same name and %s", d.config.Database, d.table, visibilitySuffix)
	}
	return version, nil
}

// withoutVersion says why schema_version does not name the database. Nil means that its set-up was cut short.
func (d database) withoutVersion(ctx context.Context, conn *pgx.Conn, tables []string) error {
	if !slices.ContainsFunc(tables, func(table string) bool { return !slices.Contains(versionTables, table) }) {
		return nil
	}
	var name string
	if err := conn.QueryRow(ctx, "SELECT coalesce(min(db_name), '') FROM schema_version").Scan(&name); err != nil {
		return err
	}
	return fmt.Errorf("its schema_version is of a database %q, and this one is named %s: give it its name back, or run "+
		"UPDATE schema_version SET db_name = current_database()", name, d.config.Database)
}

// tables returns the tables, without those of extensions, of the PostgreSQL schema that new tables would be made in.
func tables(ctx context.Context, conn *pgx.Conn) ([]string, error) {
	rows, err := conn.Query(ctx, `
		SELECT c.relname FROM pg_class c
		WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema()) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
			AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
		ORDER BY c.relname`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// bringUpToDate lets Temporal's own tool set up the schema, or update it from the installed version. It continues what was cut short.
func (d database) bringUpToDate(installed string, logger *zap.Logger) error {
	if installed == d.version {
		return nil
	}
	logger = logger.With(zap.String("database", d.where()), zap.String("to", d.version))
	if installed == "" {
		logger.Info("setting up temporal's schema")
	} else {
		logger.Warn("updating temporal's schema, which may take minutes", zap.String("from", installed))
	}
	conn, err := sqltool.NewConnection(d.sql(), log.NewNoopLogger())
	if err != nil {
		return fmt.Errorf("schema of %s: %w", d.config.Database, err)
	}
	defer conn.Close()
	if installed == "" {
		err = schematool.NewSetupSchemaTask(conn, &schematool.SetupConfig{InitialVersion: noSchema}, log.NewNoopLogger()).Run()
	}
	if err == nil {
		err = schematool.NewUpdateSchemaTask(resumable{conn}, &schematool.UpdateConfig{SchemaName: d.name, TargetVersion: d.version}, log.NewNoopLogger()).Run()
	}
	if err != nil {
		return fmt.Errorf("schema of %s: %w", d.config.Database, err)
	}
	logger.Info("temporal's schema is up to date")
	return nil
}

// resumable makes an update repeatable that was cut short. The tool itself skips what exists already; resumable skips what was dropped
// already.
type resumable struct{ *sqltool.Connection }

// Exec implements schematool.DB.
func (r resumable) Exec(statement string, args ...any) error {
	err := r.Connection.Exec(statement, args...)
	switch code(err) {
	case "42704", "42703", "42P01": // undefined_object, _column, _table
		if strings.Contains(statement, "DROP ") {
			return nil
		}
	}
	return err
}

// checkCurrent returns an error unless the database has the version that this server left there.
func (d database) checkCurrent(ctx context.Context, conn *pgx.Conn) error {
	version, err := d.installed(ctx, conn)
	if code(err) != "" || conn.IsClosed() { // PostgreSQL could not answer
		return err
	}
	if err == nil && version != d.version {
		err = fmt.Errorf("database %s came back with version %q of Temporal's schema instead of %s", d.config.Database, version, d.version)
	}
	if err != nil {
		return fmt.Errorf("%w: %w. Start again", errNotOurs, err)
	}
	return nil
}
