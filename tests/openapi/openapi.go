// Package openapi holds an OpenAPI description against what it describes, in the tests of whoever serves it: against handlers, for each answer must
// be described, and a request that is not described must be refused; and against routes, structs and constants.
package openapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

// Description is an OpenAPI document twice: as it is, and closed. Callers must put up with members that they don't know, but the
// handlers may answer none that is not described.
type Description struct {
	Closed *openapi3.T
	// Unrouted are the statuses that a request to no operation may be answered with, as the schema Problem says.
	Unrouted []int
	// Prepare changes the copy of a request that was taken before it is held against the document; nil leaves it as it is.
	Prepare func(*http.Request)
	// Further looks at an answer that is as described; nil has nothing to add.
	Further func(*Answer) error

	routes routers.Router
}

// Read reads a document in JSON, whose examples must be as its schemas say. Bodies of the media types of plain are text to it.
func Read(document []byte, plain ...string) (*Description, error) {
	for _, media := range plain {
		openapi3filter.RegisterBodyDecoder(media, openapi3filter.PlainBodyDecoder)
	}
	asItIs, err := openapi3.NewLoader().LoadFromData(document)
	if err != nil {
		return nil, err
	}
	if err := asItIs.Validate(context.Background(), openapi3.EnableExamplesValidation()); err != nil {
		return nil, err
	}
	routes, err := gorillamux.NewRouter(asItIs)
	if err != nil {
		return nil, err
	}
	var tree any
	if err := json.Unmarshal(document, &tree); err != nil {
		return nil, err
	}
	closeObjects(tree)
	data, err := json.Marshal(tree)
	if err != nil {
		return nil, err
	}
	closed, err := openapi3.NewLoader().LoadFromData(data)
	return &Description{Closed: closed, routes: routes, Unrouted: []int{http.StatusNotFound, http.StatusMethodNotAllowed}}, err
}

func closeObjects(node any) {
	switch node := node.(type) {
	case map[string]any:
		_, open := node["additionalProperties"]
		if _, ok := node["properties"].(map[string]any); ok && node["type"] == "object" && !open {
			node["additionalProperties"] = false
		}
		for _, child := range node {
			closeObjects(child)
		}
	case []any:
		for _, child := range node {
			closeObjects(child)
		}
	}
}

// Handler is h, and fails the test when an exchange with it is not as described.
func (d *Description) Handler(t testing.TB, h http.Handler) http.Handler {
	t.Helper()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Only what the handler reads of the body is kept: it must be free to answer before the rest has come.
		var body bytes.Buffer
		asked := r.Clone(r.Context())
		if r.Body != http.NoBody {
			r.Body = readCloser{io.TeeReader(r.Body, &body), r.Body}
		}
		out := &Answer{ResponseWriter: w}
		defer func() { // also of a stream that is broken off
			asked.Body = io.NopCloser(&body)
			if err := d.Check(asked, out); err != nil {
				t.Errorf("%s %s -> %d %s: %v", r.Method, r.URL, out.Status, &out.Body, err)
			}
		}()
		h.ServeHTTP(out, r)
	})
}

type readCloser struct {
	io.Reader
	io.Closer
}

// Answer keeps what goes through it.
type Answer struct {
	http.ResponseWriter
	// Status is 0 before the answer has begun.
	Status int
	Body   bytes.Buffer
}

// NewAnswer is one that came over no connection.
func NewAnswer(status int, header http.Header, body string) *Answer {
	a := &Answer{ResponseWriter: headers(header), Status: status}
	a.Body.WriteString(body)
	return a
}

// WriteHeader implements http.ResponseWriter.
func (a *Answer) WriteHeader(status int) {
	a.Status = status
	a.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (a *Answer) Write(p []byte) (int, error) {
	if a.Status == 0 {
		a.Status = http.StatusOK
	}
	a.Body.Write(p)
	return a.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (a *Answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// headers are those of an answer without a connection.
type headers http.Header

func (h headers) Header() http.Header       { return http.Header(h) }
func (headers) Write(p []byte) (int, error) { return len(p), nil }
func (headers) WriteHeader(int)             {}

// Check says how an exchange is not as described. It reads the body of r.
func (d *Description) Check(r *http.Request, answer *Answer) error {
	route, params, err := d.routes.FindRoute(r)
	if err != nil {
		if !slices.Contains(d.Unrouted, answer.Status) {
			return err
		}
		return d.Matches("Problem", answer.Body.Bytes())
	}
	for name, value := range params { // the router leaves them escaped
		if params[name], err = url.PathUnescape(value); err != nil {
			return err
		}
	}
	request := &openapi3filter.RequestValidationInput{
		Request: r, PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: hasCredential, RejectWhenRequestBodyNotSpecified: true},
	}
	if answer.Status < http.StatusBadRequest {
		if d.Prepare != nil {
			d.Prepare(r)
		}
		if err := openapi3filter.ValidateRequest(r.Context(), request); err != nil {
			return err
		}
	}
	if err := d.checkAnswer(request, answer); err != nil || d.Further == nil {
		return err
	}
	return d.Further(answer)
}

func (d *Description) checkAnswer(request *openapi3filter.RequestValidationInput, answer *Answer) error {
	closed := *request.Route
	closed.Spec = d.Closed
	closed.PathItem = d.Closed.Paths.Value(closed.Path)
	closed.Operation = closed.PathItem.GetOperation(closed.Method)
	request.Route = &closed
	response := closed.Operation.Responses.Status(answer.Status)
	if response != nil && len(response.Value.Content) == 0 && answer.Body.Len() > 0 {
		return errors.New("there is a body")
	}
	body := answer.Body.Bytes()
	if answer.Header().Get("Content-Encoding") != "" {
		body = nil // it is text to the validator
	}
	return openapi3filter.ValidateResponse(request.Request.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: request, Status: answer.Status, Header: answer.Header(),
		Body:    io.NopCloser(bytes.NewReader(body)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	})
}

// Matches reports how data differs from a schema.
func (d *Description) Matches(schema string, data []byte) error {
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	return d.Closed.Components.Schemas[schema].Value.VisitJSON(v, openapi3.EnableJSONSchema2020())
}

func hasCredential(_ context.Context, in *openapi3filter.AuthenticationInput) error {
	name := in.SecurityScheme.Name
	if in.SecurityScheme.Type == "http" {
		name = "Authorization"
	}
	if in.RequestValidationInput.Request.Header.Get(name) == "" {
		return errors.New("there is no " + name)
	}
	return nil
}
