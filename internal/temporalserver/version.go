package temporalserver

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/blang/semver/v4"
	"go.temporal.io/server/common/headers"

	"storekeeper/internal/dbfile"
)

// Replacement describes a database that could not be used any more and was replaced by a new one.
type Replacement struct {
	At time.Time
	// Version is the version of the server that made the old one, or "unknown".
	Version string
	// Why says, for people, why the old one could not be used. It is "" if the replacement happened at an earlier start.
	Why string
	// SetAside is the path of the old one now.
	SetAside string
}

// version is what is known of a file.
type version struct {
	empty bool // it has no tables
	other bool // it is Temporal's, and this version can't use it
	name  string
	why   string
}

const unknownVersion = "unknown"

// versionOf says whether a database can be used. It is an error if the database is not Temporal's. Temporal has no migrations for SQLite:
// it goes on with a file if that has all that Temporal needs, and nothing else that Temporal would have to know of. What others (a backup
// tool, say) have added is ignored, unless Temporal could not write beside it.
func versionOf(ctx context.Context, db *sql.DB) (version, error) {
	got, err := columns(ctx, db)
	if err != nil {
		return version{}, err
	}
	if len(got) == 0 {
		return version{empty: true}, nil
	}
	want, err := expectedColumns(ctx)
	if err != nil {
		return version{}, err
	}
	for _, table := range []string{"namespaces", "executions", "history_node"} { // Temporal has had them since its first version for SQLite
		if !slices.ContainsFunc(got, func(c column) bool { return c.table == table }) {
			return version{}, fmt.Errorf("it was made by another program: it has no table %s. Use another file", table)
		}
	}
	_, made, err := engineOf(ctx, db)
	if err != nil {
		return version{}, err
	}
	v := version{name: nameOf(made)}
	v.why = differs(got, want)
	if v.why == "" && newer(made) {
		v.why = fmt.Sprintf("version %s has used it, this is %s, and Temporal has no way back", made, headers.ServerVersion)
	}
	v.other = v.why != ""
	return v, nil
}

// nameOf is the form of a server's version that goes into the name of a file.
func nameOf(made string) string {
	if _, err := semver.Parse(made); err != nil {
		return unknownVersion
	}
	return made
}

// newer says whether a server's version is of a newer minor or major version than ours. Patches have the same data.
func newer(made string) bool {
	theirs, err := semver.ParseTolerant(made)
	if err != nil {
		return false
	}
	ours := semver.MustParse(headers.ServerVersion)
	return theirs.Major > ours.Major || theirs.Major == ours.Major && theirs.Minor > ours.Minor
}

// differs says why a database with the columns got can't be used where the columns want are expected; "" if it can.
func differs(got, want []column) string {
	tables := map[string]bool{}
	for _, c := range want {
		tables[c.table] = true
		if !slices.ContainsFunc(got, c.same) {
			return c.table + "." + c.name + " is missing"
		}
	}
	for _, c := range got {
		if c.required && tables[c.table] && !slices.ContainsFunc(want, c.same) {
			return c.table + "." + c.name + " is unknown to this version, and must have a value"
		}
	}
	return ""
}

// expectedColumns returns the columns of a database that was just set up, except for those of visibility, which may have a file of its own.
func expectedColumns(ctx context.Context) ([]column, error) {
	statements, err := schemaOfExecutions()
	if err != nil {
		return nil, err
	}
	return columnsOf(ctx, statements)
}

// columnsOf returns the columns that the statements make.
func columnsOf(ctx context.Context, statements []string) ([]column, error) {
	db, err := openSQLite(":memory:")
	if err != nil {
		return nil, err
	}
	defer func() { _ = db.Close() }()
	if err := inTransaction(ctx, db, func(tx *sql.Tx) error { return execute(ctx, tx, statements...) }); err != nil {
		return nil, err
	}
	return columns(ctx, db)
}

// column is a column of a table.
type column struct {
	table, name string
	// required says that a row can't be inserted without a value for it.
	required bool
	// generated says that its value comes from other columns.
	generated bool
}

func (c column) same(other column) bool { return c.table == other.table && c.name == other.name }

// columns lists the columns of all tables, except for SQLite's own tables and those of tools, whose names begin with "_" (_litestream_seq).
func columns(ctx context.Context, db *sql.DB) ([]column, error) {
	rows, err := db.QueryContext(ctx, `
		SELECT t.name, c.name, c."notnull" AND c.dflt_value IS NULL AND c.hidden = 0, c.hidden IN (2, 3)
		FROM sqlite_schema t JOIN pragma_table_xinfo(t.name) c
		WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite\_%' ESCAPE '\' AND t.name NOT LIKE '\_%' ESCAPE '\'`)
	if err != nil {
		return nil, fmt.Errorf("read schema: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var list []column
	for rows.Next() {
		var c column
		if err := rows.Scan(&c.table, &c.name, &c.required, &c.generated); err != nil {
			return nil, fmt.Errorf("read schema: %w", err)
		}
		list = append(list, c)
	}
	return list, rows.Err()
}

// setAside closes the database and renames it, within its directory, after its version and the time. The log of a damaged database goes
// along. A database that somebody else reads is not renamed, because what is in the log would be lost on the way.
func setAside(ctx context.Context, db *sql.DB, path, version string, at time.Time) (string, error) {
	err := explain(dbfile.EmptyLog(ctx, db))
	if err != nil && !errors.Is(err, errDamaged) && !errors.Is(err, errNoSQLite) {
		return "", fmt.Errorf("set aside: %w", errors.Join(err, db.Close()))
	}
	if err := db.Close(); err != nil {
		return "", fmt.Errorf("set aside: %w", err)
	}
	ext := filepath.Ext(path)
	aside := fmt.Sprintf("%s-%s-%s%s", strings.TrimSuffix(path, ext), version, at.UTC().Format("20060102T150405Z"), ext)
	if taken, err := exists(aside); err != nil || taken {
		return "", errors.Join(err, fmt.Errorf("set aside: %s is there already", aside))
	}
	// The log first: SQLite would take it for the log of a new database beside it.
	for _, suffix := range []string{"-wal", ""} {
		err := os.Rename(path+suffix, aside+suffix)
		if noLog := suffix != "" && errors.Is(err, fs.ErrNotExist); err != nil && !noLog {
			return "", fmt.Errorf("set aside: %w", err)
		}
	}
	return aside, nil
}
