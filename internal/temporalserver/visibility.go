package temporalserver

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.uber.org/zap"

	"storekeeper/internal/dbfile"
)

// bringTo puts visibility where the schema wants it, and moves what another layout had. If a start is cut off, the next one does the rest.
func bringTo(ctx context.Context, db *sql.DB, f *files, schema Schema, log *zap.Logger) error {
	if schema == SchemaFull {
		return merge(ctx, db, f, log)
	}
	engine, _, err := engineOf(ctx, db)
	if err != nil {
		return err
	}
	visibility, err := openVisibility(ctx, f.visibility, engine, log)
	if err != nil {
		return fmt.Errorf("%s: %w", f.visibility, err)
	}
	defer func() { _ = visibility.Close() }()
	if err := setIndexes(ctx, visibility, schema, log); err != nil {
		return err
	}
	there, err := hasUsableTable(ctx, db, log)
	if err != nil {
		return err
	}
	if there {
		began := time.Now()
		rows, err := moveVisibility(ctx, db, f.visibility)
		if err != nil {
			return err
		}
		log.Info("temporal's visibility has a file of its own now", zap.String("file", f.visibility), zap.Int64("rows", rows), zap.Duration("took", time.Since(began)))
	}
	if err := dropGhosts(ctx, db, f.visibility, log); err != nil {
		return err
	}
	return errors.Join(makeVacuumable(ctx, db, log), makeVacuumable(ctx, visibility, log))
}

// dropGhosts drops the rows of running workflows that the executions do not have. They are left when a backup of one file was put back
// without the other, or when a power loss took more of one file. No event would ever end them.
func dropGhosts(ctx context.Context, db *sql.DB, path string, log *zap.Logger) error {
	return attached(ctx, db, path, func() error {
		res, err := db.ExecContext(ctx, `
			DELETE FROM other.executions_visibility WHERE status = ? AND upper(replace(run_id, '-', '')) NOT IN (SELECT hex(run_id) FROM main.executions)`,
			enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING)
		if err != nil {
			return err
		}
		if rows, err := res.RowsAffected(); err != nil || rows > 0 {
			log.Warn("temporal's visibility had workflows that its executions do not have, they are not listed any more", zap.Int64("workflows", rows), zap.Error(err))
		}
		return nil
	})
}

// hasUsableTable says whether the database of the executions holds visibility as well. It drops the table if it is of another schema; what
// that shows is lost.
func hasUsableTable(ctx context.Context, db *sql.DB, log *zap.Logger) (there bool, err error) {
	if there, err = hasTable(ctx, db, visibilityTable); err != nil || !there {
		return there, err
	}
	got, err := columns(ctx, db)
	if err != nil {
		return false, err
	}
	table, _, err := schemaOfVisibility(SchemaLean)
	if err != nil {
		return false, err
	}
	want, err := columnsOf(ctx, table)
	if err != nil {
		return false, err
	}
	why := differs(got, want)
	if why == "" {
		return true, nil
	}
	log.Warn("temporal's visibility is of another version, and is begun anew: lists and the Web UI show no workflow that began before", zap.String("why", why))
	return false, dropTable(ctx, db)
}

// dropTable drops the table of visibility and all that belongs to it.
func dropTable(ctx context.Context, db *sql.DB) error {
	return inTransaction(ctx, db, func(tx *sql.Tx) error {
		return execute(ctx, tx, // their indexes and triggers go with them
			"DROP TABLE IF EXISTS "+visibilityTable+"_fts_text", "DROP TABLE IF EXISTS "+visibilityTable+"_fts_keyword_list", "DROP TABLE "+visibilityTable)
	})
}

// openVisibility opens the file for visibility, or makes it. A file that can't be used is set aside for a new one: visibility is made from
// the executions, and no promise of ours depends on it.
func openVisibility(ctx context.Context, path, engine string, log *zap.Logger) (*sql.DB, error) {
	db, err := createFile(path)
	if err != nil {
		return nil, err
	}
	why, empty, err := unusable(ctx, db, engine)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if why != "" {
		if err := setVisibilityAside(ctx, db, path, why, log); err != nil {
			return nil, errors.Join(err, db.Close())
		}
		if db, err = createFile(path); err != nil {
			return nil, err
		}
		empty = true
	}
	if err := dbfile.UseLog(ctx, db); err != nil { // only once it is known to be ours
		return nil, errors.Join(err, db.Close())
	}
	if !empty {
		return db, nil
	}
	err = inTransaction(ctx, db, func(tx *sql.Tx) error {
		table, _, err := schemaOfVisibility(SchemaLean)
		if err != nil {
			return err
		}
		return errors.Join(execute(ctx, tx, table...), mark(ctx, tx, engine, nil))
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

func setVisibilityAside(ctx context.Context, db *sql.DB, path, why string, log *zap.Logger) error {
	_, made, err := engineOf(ctx, db)
	if err != nil { // it is damaged
		made = ""
	}
	aside, err := setAside(ctx, db, path, nameOf(made), time.Now())
	if err != nil {
		return err
	}
	log.Warn("temporal's visibility can't be used, and was set aside: lists and the Web UI show no workflow that began before", zap.String("why", why),
		zap.String("setAside", aside))
	return nil
}

// unusable says why the file is not the visibility of the engine; "" if it is, or if it is empty. It is an error if the file is another
// program's.
func unusable(ctx context.Context, db *sql.DB, engine string) (why string, empty bool, err error) {
	if err := explain(checkWhole(ctx, db)); errors.Is(err, errDamaged) || errors.Is(err, errNoSQLite) {
		return err.Error(), false, nil
	} else if err != nil {
		return "", false, err
	}
	got, err := columns(ctx, db)
	if err != nil || len(got) == 0 {
		return "", true, err
	}
	of, _, err := engineOf(ctx, db)
	switch {
	case err != nil:
		return "", false, err
	case of == "":
		return "", false, errors.New("it was made by another program: move it away")
	case of != engine:
		return "it belongs to another database", false, nil
	}
	table, _, err := schemaOfVisibility(SchemaLean)
	if err != nil {
		return "", false, err
	}
	want, err := columnsOf(ctx, table)
	if err != nil {
		return "", false, err
	}
	return differs(got, want), false, nil
}

// moveVisibility moves the rows into the file at path and drops the table. After a move that was cut off, some rows are in the file
// already: one that is not older stays.
func moveVisibility(ctx context.Context, db *sql.DB, path string) (rows int64, err error) {
	if rows, err = copyVisibility(ctx, db, path, "main", "other"); err != nil {
		return 0, err
	}
	return rows, dropTable(ctx, db)
}

// attached calls do while the file at path is attached as "other"; the database itself is "main".
func attached(ctx context.Context, db *sql.DB, path string, do func() error) (err error) {
	if _, err := db.ExecContext(ctx, `ATTACH ? AS other`, dbfile.URI(path)); err != nil {
		return err
	}
	defer func() {
		_, detached := db.ExecContext(context.WithoutCancel(ctx), `DETACH other`)
		err = errors.Join(err, detached)
	}()
	return do()
}

// copyVisibility copies the rows between the database ("main") and the file at path ("other"), and returns how many.
func copyVisibility(ctx context.Context, db *sql.DB, path, from, to string) (rows int64, err error) {
	table, _, err := schemaOfVisibility(SchemaLean)
	if err != nil {
		return 0, err
	}
	want, err := columnsOf(ctx, table)
	if err != nil {
		return 0, err
	}
	var names, updates []string
	for _, c := range want {
		if c.table == visibilityTable && !c.generated {
			names, updates = append(names, c.name), append(updates, c.name+" = excluded."+c.name)
		}
	}
	err = attached(ctx, db, path, func() error {
		res, err := db.ExecContext(ctx, fmt.Sprintf(`INSERT INTO %[2]s.%[3]s (%[4]s) SELECT %[4]s FROM %[1]s.%[3]s WHERE true
			ON CONFLICT (namespace_id, run_id) DO UPDATE SET %[5]s WHERE _version < excluded._version`,
			from, to, visibilityTable, strings.Join(names, ", "), strings.Join(updates, ", ")))
		if err != nil {
			return err
		}
		rows, err = res.RowsAffected()
		return err
	})
	return rows, err
}

// merge puts everything into one file, as Temporal's own programs expect.
func merge(ctx context.Context, db *sql.DB, f *files, log *zap.Logger) error {
	there, err := hasUsableTable(ctx, db, log)
	if err != nil {
		return err
	}
	if !there {
		table, _, err := schemaOfVisibility(SchemaFull)
		if err != nil {
			return err
		}
		if err := inTransaction(ctx, db, func(tx *sql.Tx) error { return execute(ctx, tx, table...) }); err != nil {
			return err
		}
	}
	if err := moveBack(ctx, db, VisibilityPath(f.executions), log); err != nil {
		return err
	}
	if err := setIndexes(ctx, db, SchemaFull, log); err != nil {
		return err
	}
	return makeVacuumable(ctx, db, log)
}

// moveBack moves the rows of the file at path into the database and removes the file. A file of another engine is set aside.
func moveBack(ctx context.Context, db *sql.DB, path string, log *zap.Logger) error {
	there, err := exists(path)
	if err != nil || !there {
		return err
	}
	engine, _, err := engineOf(ctx, db)
	if err != nil {
		return err
	}
	visibility, err := openFile(path)
	if err != nil {
		return err
	}
	defer func() { _ = visibility.Close() }()
	why, empty, err := unusable(ctx, visibility, engine)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	switch {
	case why != "":
		return setVisibilityAside(ctx, visibility, path, why, log)
	case empty:
		return errors.Join(visibility.Close(), dbfile.Remove(path))
	}
	rows, err := copyVisibility(ctx, db, path, "other", "main")
	if err != nil {
		return err
	}
	log.Info("temporal's visibility is in the file of the executions now", zap.Int64("rows", rows))
	return errors.Join(visibility.Close(), dbfile.Remove(path))
}
