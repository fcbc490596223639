package temporalserver

import (
	"context"
	"database/sql"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	sqliteschema "go.temporal.io/server/schema/sqlite"
	"go.uber.org/zap"
)

// Schema says which parts of Temporal's SQLite schema there are, and in which files.
type Schema string

// The schemas. A start brings the database to the one that is asked for.
const (
	// SchemaLean keeps visibility in a file of its own, with only the indexes that are used. It is the default.
	SchemaLean Schema = "lean"
	// SchemaFull is Temporal's own schema: one file, which Temporal's other programs can use, with all indexes. Each commit is synced.
	SchemaFull Schema = "full"
)

// leanIndexes are the indexes that SchemaLean keeps. The table of visibility has 58 indexes, one for each attribute that there can be, and
// each workflow is written to all of them twice. A query by another attribute reads the rows of the namespace, in the order of
// leanIndexes[0].
var leanIndexes = []string{
	"default_idx",                    // the order of each list, and the times of the Web UI's filter
	"by_workflow_id",                 // the Web UI's search for a store
	"by_workflow_type",               // the Web UI's filter
	"by_status",                      // the Web UI's filter, and the list of pending deletions (orchestrator.pendingQuery)
	"by_parent_workflow_id",          // the children of a workflow, on its page in the Web UI
	"by_temporal_scheduled_by_id",    // what a schedule started, on its page in the Web UI
	"by_temporal_namespace_division", // the Web UI's list of schedules
}

// sparseIndexes are those leanIndexes whose attribute few workflows have; only these workflows are in the index. SQLite uses the index all
// the same for a query by a value.
var sparseIndexes = map[string]string{
	"by_parent_workflow_id":          "parent_workflow_id",
	"by_temporal_scheduled_by_id":    "TemporalScheduledById",
	"by_temporal_namespace_division": "TemporalNamespaceDivision",
}

const visibilityTable = "executions_visibility"

// createIndex finds the name of the index in a statement.
var createIndex = regexp.MustCompile(`(?i)^\s*CREATE INDEX (\w+)\s+ON executions_visibility\b`)

// schemaStatements returns the statements of Temporal's schema, in their order.
func schemaStatements() ([]string, error) {
	var s recorder
	err := sqliteschema.SetupSchemaOnDB(&s)
	return s.statements, err
}

// recorder implements the part of a database that SetupSchemaOnDB uses.
type recorder struct {
	sqlplugin.AdminDB
	statements []string
}

func (r *recorder) Exec(statement string, _ ...any) error {
	r.statements = append(r.statements, statement)
	return nil
}

func schemaOfExecutions() ([]string, error) {
	all, err := schemaStatements()
	return slices.DeleteFunc(all, ofVisibility), err
}

func ofVisibility(statement string) bool { return strings.Contains(statement, visibilityTable) }

// schemaOfVisibility returns the statements for the table, and those for its indexes by the name of the index.
func schemaOfVisibility(schema Schema) (table []string, indexes map[string]string, err error) {
	all, err := schemaStatements()
	if err != nil {
		return nil, nil, err
	}
	indexes = map[string]string{}
	for _, statement := range all {
		switch name := createIndex.FindStringSubmatch(statement); {
		case !ofVisibility(statement):
		case name == nil:
			table = append(table, statement)
		case schema == SchemaFull:
			indexes[name[1]] = statement
		case slices.Contains(leanIndexes, name[1]):
			if attribute := sparseIndexes[name[1]]; attribute != "" {
				statement = strings.TrimRight(statement, "; \n") + " WHERE " + attribute + " IS NOT NULL"
			}
			indexes[name[1]] = statement
		}
	}
	return table, indexes, nil
}

// setIndexes gives the table the indexes that the schema wants. Indexes that others have made stay: their names are not Temporal's.
func setIndexes(ctx context.Context, db *sql.DB, schema Schema, log *zap.Logger) error {
	_, want, err := schemaOfVisibility(schema)
	if err != nil {
		return err
	}
	_, all, err := schemaOfVisibility(SchemaFull)
	if err != nil {
		return err
	}
	have, err := indexesOf(ctx, db)
	if err != nil {
		return err
	}
	return inTransaction(ctx, db, func(tx *sql.Tx) error {
		for name, statement := range have {
			if all[name] == "" || same(statement, want[name]) {
				continue
			}
			if err := execute(ctx, tx, "DROP INDEX "+name); err != nil {
				return err
			}
			delete(have, name)
		}
		began := time.Now()
		made := 0
		for name, statement := range want {
			if have[name] != "" {
				continue
			}
			if err := execute(ctx, tx, statement); err != nil {
				return err
			}
			made++
		}
		if took := time.Since(began); took > time.Second {
			log.Info("indexes of temporal's visibility made", zap.Int("indexes", made), zap.Duration("took", took))
		}
		return nil
	})
}

// same compares two statements as SQLite keeps them: without regard to white space, case and a semicolon at the end of b.
func same(a, b string) bool {
	return strings.EqualFold(strings.Join(strings.Fields(a), " "), strings.TrimSuffix(strings.Join(strings.Fields(b), " "), ";"))
}

func indexesOf(ctx context.Context, db *sql.DB) (map[string]string, error) {
	rows, err := db.QueryContext(ctx, `SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL`, visibilityTable)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	indexes := map[string]string{}
	for rows.Next() {
		var name, statement string
		if err := rows.Scan(&name, &statement); err != nil {
			return nil, err
		}
		indexes[name] = statement
	}
	return indexes, rows.Err()
}

func hasTable(ctx context.Context, db *sql.DB, name string) (there bool, err error) {
	err = db.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?`, name).Scan(&there)
	return there, err
}

// trimMemory drops the indexes that SchemaLean does not have from a database in memory. Temporal sets that database up by itself.
func trimMemory(s dataStores) error {
	db, err := admin(s.visibility)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	_, lean, err := schemaOfVisibility(SchemaLean)
	if err != nil {
		return err
	}
	_, full, err := schemaOfVisibility(SchemaFull)
	if err != nil {
		return err
	}
	for name := range full {
		if lean[name] != "" {
			continue
		}
		if err := db.Exec("DROP INDEX IF EXISTS " + name); err != nil {
			return err
		}
	}
	return nil
}
