package storehttp

import (
	"context"
	"net/http"
	"net/url"

	"github.com/go-chi/chi/v5"

	"storekeeper/internal/deliveries"
	"storekeeper/internal/storemanager"
)

// This file has both sides of the memory of webhooks: the routes of the server, and the client's methods.

type deliveryResponse struct {
	// Delivery is null if it is not known.
	Delivery *deliveries.Delivery `json:"delivery"`
}

type acceptedEventsResponse struct {
	Events []deliveries.AcceptedEvent `json:"events"`
}

// overviewResponse is the overview of the stores, with what the memory counts.
type overviewResponse struct {
	storemanager.Overview
	// Deliveries is how many webhooks are remembered.
	Deliveries int64 `json:"deliveries"`
}

func (s *server) memoryRoutes(r chi.Router) {
	r.Get("/deliveries", s.answer(func(r *http.Request) (any, error) {
		d, err := s.memory.Delivery(r.Context(), r.URL.Query().Get("id"))
		return deliveryResponse{d}, err
	}))
	r.Put("/deliveries", answerBody(s, func(r *http.Request, d deliveries.Delivery) (any, error) { return s.memory.Remember(r.Context(), d) }))
	r.Put("/accepted-events", answerBody(s, func(r *http.Request, e deliveries.AcceptedEvent) (any, error) {
		return nothing{}, s.memory.KeepAccepted(r.Context(), e)
	}))
	r.Get("/accepted-events", s.answer(func(r *http.Request) (any, error) {
		query, err := queryOf(r)
		if err != nil {
			return nil, err
		}
		events, err := s.memory.Unheard(r.Context(), deliveries.UnheardRequest{Engine: query.Get("engine"), After: query.Get("after")})
		return acceptedEventsResponse{events}, err
	}))
	r.Put("/engine", answerBody(s, func(r *http.Request, q deliveries.EngineRequest) (any, error) {
		return nothing{}, s.memory.EngineTold(r.Context(), q)
	}))
}

// Count implements Memory.
func (c *Client) Count(ctx context.Context) (int64, error) {
	o, err := ask[overviewResponse](ctx, c, http.MethodGet, c.base.JoinPath("v1", "overview"), nil)
	return o.Deliveries, err
}

// Delivery implements Memory.
func (c *Client) Delivery(ctx context.Context, id string) (*deliveries.Delivery, error) {
	u := c.base.JoinPath("v1", "deliveries")
	u.RawQuery = url.Values{"id": {id}}.Encode()
	answer, err := ask[deliveryResponse](ctx, c, http.MethodGet, u, nil)
	return answer.Delivery, err
}

// Remember implements Memory.
func (c *Client) Remember(ctx context.Context, d deliveries.Delivery) (deliveries.Delivery, error) {
	return ask[deliveries.Delivery](ctx, c, http.MethodPut, c.base.JoinPath("v1", "deliveries"), d)
}

// KeepAccepted implements Memory.
func (c *Client) KeepAccepted(ctx context.Context, e deliveries.AcceptedEvent) error {
	_, err := ask[nothing](ctx, c, http.MethodPut, c.base.JoinPath("v1", "accepted-events"), e)
	return err
}

// Unheard implements Memory.
func (c *Client) Unheard(ctx context.Context, q deliveries.UnheardRequest) ([]deliveries.AcceptedEvent, error) {
	u := c.base.JoinPath("v1", "accepted-events")
	u.RawQuery = url.Values{"engine": {q.Engine}, "after": {q.After}}.Encode()
	answer, err := ask[acceptedEventsResponse](ctx, c, http.MethodGet, u, nil)
	return answer.Events, err
}

// EngineTold implements Memory.
func (c *Client) EngineTold(ctx context.Context, q deliveries.EngineRequest) error {
	_, err := ask[nothing](ctx, c, http.MethodPut, c.base.JoinPath("v1", "engine"), q)
	return err
}
