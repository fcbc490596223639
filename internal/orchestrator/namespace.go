package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"slices"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"

	"storekeeper/contract"
)

// SearchAttributes are those that the workflows set. A namespace must have them.
func SearchAttributes() map[string]enumspb.IndexedValueType {
	return map[string]enumspb.IndexedValueType{
		contract.AttributeWorkspaceState: enumspb.INDEXED_VALUE_TYPE_KEYWORD,
		contract.AttributeDeleteAt:       enumspb.INDEXED_VALUE_TYPE_DATETIME,
	}
}

// MissingSearchAttributes are the names of those that the namespace lacks, or has with another type. ErrUnavailable if Temporal can't be asked.
func (c *Client) MissingSearchAttributes(ctx context.Context) ([]string, error) {
	list, err := c.temporal.OperatorService().ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: c.namespace})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	var missing []string
	for name, kind := range SearchAttributes() {
		if list.GetCustomAttributes()[name] != kind {
			missing = append(missing, name)
		}
	}
	slices.Sort(missing)
	return missing, nil
}

// EnsureSearchAttributes adds what the namespace lacks. A worker must not start without them: the workflow task of a deletion, which sets
// them, would fail for ever.
func (c *Client) EnsureSearchAttributes(ctx context.Context) error {
	list, err := c.temporal.OperatorService().ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: c.namespace})
	if err != nil {
		return fmt.Errorf("list search attributes: %w", err)
	}
	missing := map[string]enumspb.IndexedValueType{}
	for name, kind := range SearchAttributes() {
		have, ok := list.GetCustomAttributes()[name]
		switch {
		case !ok:
			missing[name] = kind
		case have != kind:
			return fmt.Errorf("search attribute %s of namespace %s is a %s and must be a %s", name, c.namespace, have, kind)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	_, err = c.temporal.OperatorService().AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{
		Namespace: c.namespace, SearchAttributes: missing,
	})
	var exists *serviceerror.AlreadyExists
	if err != nil && !errors.As(err, &exists) {
		return fmt.Errorf("add search attributes %v to namespace %s (an administrator can do it with "+
			"`temporal operator search-attribute create`): %w", missing, c.namespace, err)
	}
	return nil
}
