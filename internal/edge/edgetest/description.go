package edgetest

import (
	"errors"
	"net/http"
	"os"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"

	"storekeeper/tests/openapi"
)

// Describe reads openapi.json, of this folder or the one above: tests run in that of their package.
var Describe = sync.OnceValues(func() (*openapi.Description, error) {
	// RFC 3339 allows lower case; the validator's own pattern does not.
	openapi3.DefineStringFormatValidator("date-time", openapi3.NewRegexpFormatValidator("(?i)"+openapi3.FormatOfStringDateTime))
	raw, err := os.ReadFile("openapi.json")
	if errors.Is(err, os.ErrNotExist) {
		raw, err = os.ReadFile("../openapi.json")
	}
	if err != nil {
		return nil, err
	}
	d, err := openapi.Read(raw, "text/html", "text/css", "text/javascript", "image/png", "application/x-tar")
	if err != nil {
		return nil, err
	}
	d.Prepare = func(r *http.Request) {
		if r.Header.Get("Content-Type") == "" { // but for webhooks, which are refused, whatever comes is read as JSON
			r.Header.Set("Content-Type", "application/json")
		}
	}
	return d, nil
})

// Documented fails the test when an exchange with h is not as openapi.json says.
func Documented(t *testing.T, h http.Handler) http.Handler {
	t.Helper()
	described, err := Describe()
	require.NoError(t, err)
	return described.Handler(t, h)
}
