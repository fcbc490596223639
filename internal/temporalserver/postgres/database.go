package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/iancoleman/strcase"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jmoiron/sqlx"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/persistence/sql/sqlplugin/postgresql"
	"go.temporal.io/server/common/persistence/sql/sqlplugin/postgresql/driver"
)

// database is one of the two. Neither its errors nor its other methods show a password.
type database struct {
	schema
	dsn      string
	config   *pgx.ConnConfig
	maxConns int
}

// parse returns the database that the URL names, and the one beside it for visibility.
func parse(rawURL string) (executions, visibility database, err error) {
	u, err := url.Parse(rawURL)
	if err != nil { // the error would show the URL
		return executions, visibility, errors.New("the URL of PostgreSQL can't be parsed")
	}
	name := strings.TrimPrefix(u.Path, "/")
	if name == "" {
		return executions, visibility, errors.New("the URL of PostgreSQL names no database: postgres://user@host/temporal")
	}
	if visible := name + visibilitySuffix; len(visible) > maxDatabaseName {
		return executions, visibility, fmt.Errorf("the name of the database is too long: %s has more than %d bytes", visible, maxDatabaseName)
	}
	if executions, err = newDatabase(*u, name, executionsSchema, maxExecutionsConns); err == nil {
		visibility, err = newDatabase(*u, name+visibilitySuffix, visibilitySchema, maxVisibilityConns)
	}
	return executions, visibility, err
}

func newDatabase(u url.URL, name string, s schema, maxConns int) (database, error) {
	query := u.Query()
	for _, param := range []string{"dbname", "database"} { // it would name one database for both
		if query.Has(param) {
			return database{}, fmt.Errorf("the URL of PostgreSQL names the database in its path, so it can't have the parameter %s", param)
		}
	}
	for param, value := range map[string]string{
		"connect_timeout": strconv.Itoa(int(connectTimeout.Seconds())), "application_name": "storekeeper",
	} {
		if !query.Has(param) {
			query.Set(param, value)
		}
	}
	u.Path, u.RawPath, u.RawQuery = "/"+name, "", query.Encode()
	d := database{schema: s, dsn: u.String(), maxConns: maxConns}
	var err error
	if d.config, err = pgx.ParseConfig(d.dsn); err != nil {
		if cause := errors.Unwrap(err); cause != nil { // the cause does not show the URL
			err = cause
		} else {
			err = errors.New("it can't be parsed")
		}
		return d, fmt.Errorf("the URL of PostgreSQL: %w", err)
	}
	return d, nil
}

func (d database) where() string {
	return fmt.Sprintf("database %s at %s", d.config.Database, net.JoinHostPort(d.config.Host, strconv.Itoa(int(d.config.Port))))
}

// sql tells Temporal how to connect. Temporal makes new connections by itself when it has lost some.
func (d database) sql() *config.SQL {
	return &config.SQL{
		PluginName:   postgresql.PluginNamePGX,
		DatabaseName: d.config.Database,
		// Temporal would build a URL of its parts without escaping all of them.
		Connect: func(*config.SQL) (*sqlx.DB, error) {
			db, err := (&driver.PGXDriver{}).CreateConnection(d.dsn)
			if err != nil {
				return nil, err
			}
			db.SetMaxOpenConns(d.maxConns)
			db.SetMaxIdleConns(d.maxConns)
			db.SetConnMaxLifetime(maxConnLifetime)
			db.MapperFunc(strcase.ToSnake) // as Temporal's plugin does
			return db, nil
		},
	}
}

func connect(ctx context.Context, d database) (*pgx.Conn, error) {
	return pgx.ConnectConfig(ctx, d.config)
}

// code is PostgreSQL's code for the error; "" if the error is not an answer of PostgreSQL.
func code(err error) string {
	if refusal, ok := errors.AsType[*pgconn.PgError](err); ok {
		return refusal.Code
	}
	return ""
}

// oneLine writes an error in one line. An error of a connection has a line for each address that was tried.
type oneLine struct{ error }

func (e oneLine) Error() string { return strings.Join(strings.Fields(e.error.Error()), " ") }

func (e oneLine) Unwrap() error { return e.error }
