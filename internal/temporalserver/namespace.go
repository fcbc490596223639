package temporalserver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	persistencespb "go.temporal.io/server/api/persistence/v1"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/metrics"
	"go.temporal.io/server/common/persistence"
	"go.temporal.io/server/common/persistence/serialization"
	"go.temporal.io/server/common/persistence/sql"
	"go.temporal.io/server/common/resolver"
	"go.temporal.io/server/common/searchattribute/sadefs"
	"go.temporal.io/server/schema/sqlite"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

// setUpNamespace creates the namespace, or brings its retention and search attributes up to o. It writes to the database before the server
// starts, through the server's own persistence layer, so no service ever sees older settings. Each service caches a namespace for seconds,
// so a change through the API is usable only once the last of them has noticed it.
func setUpNamespace(ctx context.Context, db *config.SQL, o Options) error {
	serializer := serialization.NewSerializer()
	factory := sql.NewFactory(*db, resolver.NewNoopResolver(), clusterName, log.NewNoopLogger(), metrics.NoopMetricsHandler, serializer)
	defer factory.Close()
	store, err := factory.NewMetadataStore()
	if err != nil {
		return err
	}
	manager := persistence.NewMetadataManagerImpl(store, serializer, log.NewNoopLogger(), clusterName)

	current, err := manager.GetNamespace(ctx, &persistence.GetNamespaceRequest{Name: o.Namespace})
	if _, notFound := errors.AsType[*serviceerror.NamespaceNotFound](err); notFound {
		return createNamespace(ctx, manager, o)
	}
	if err != nil {
		return err
	}
	before := proto.CloneOf(current.Namespace.Config)
	if err := configure(current.Namespace.Config, o); err != nil {
		return err
	}
	if proto.Equal(before, current.Namespace.Config) {
		return nil
	}
	current.Namespace.ConfigVersion++
	metadata, err := manager.GetMetadata(ctx)
	if err != nil {
		return err
	}
	return manager.UpdateNamespace(ctx, &persistence.UpdateNamespaceRequest{
		Namespace:           current.Namespace,
		IsGlobalNamespace:   current.IsGlobalNamespace,
		NotificationVersion: metadata.NotificationVersion,
	})
}

func createNamespace(ctx context.Context, manager persistence.MetadataManager, o Options) error {
	namespace, err := sqlite.NewNamespaceConfig(clusterName, o.Namespace, false, nil)
	if err != nil {
		return err
	}
	if err := configure(namespace.Detail.Config, o); err != nil {
		return err
	}
	_, err = manager.CreateNamespace(ctx, &persistence.CreateNamespaceRequest{Namespace: namespace.Detail})
	return err
}

// configure applies what o asks for. In SQL a custom search attribute is a name for one of a fixed number of columns of its type
// ("Keyword01" and so on).
func configure(c *persistencespb.NamespaceConfig, o Options) error {
	c.Retention = durationpb.New(o.Retention)
	if c.CustomSearchAttributeAliases == nil {
		c.CustomSearchAttributeAliases = map[string]string{}
	}
	aliases := c.CustomSearchAttributeAliases
	types := sadefs.GetDBIndexSearchAttributes(nil).CustomSearchAttributes
	columnOf := map[string]string{}
	for column, name := range aliases {
		columnOf[name] = column
	}
	for _, name := range slices.Sorted(maps.Keys(o.SearchAttributes)) {
		want := o.SearchAttributes[name]
		if column, ok := columnOf[name]; ok {
			if types[column] != want {
				return fmt.Errorf("search attribute %s is of type %s already and can't become %s", name, types[column], want)
			}
			continue
		}
		if name == "" || sadefs.IsReserved(name) {
			return fmt.Errorf("search attribute name %q is Temporal's own", name)
		}
		column, err := freeColumn(types, aliases, want)
		if err != nil {
			return fmt.Errorf("search attribute %s: %w", name, err)
		}
		aliases[column] = name
	}
	return nil
}

func freeColumn(
	types map[string]enums.IndexedValueType, aliases map[string]string, want enums.IndexedValueType,
) (string, error) {
	for _, column := range slices.Sorted(maps.Keys(types)) {
		if _, taken := aliases[column]; !taken && types[column] == want {
			return column, nil
		}
	}
	return "", fmt.Errorf("no column of type %s is left", want)
}
