// Package asker says who sends a request to the edge's API: an operator, for the audit trail.
package asker

import (
	"net/http"
	"strings"

	"storekeeper/contract"
	"storekeeper/internal/httpserver"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/tracing"
)

// HeaderVia is where our own CLI says that an operator uses it: its value is contract.ViaCLI then.
const HeaderVia = "Storekeeper-Via"

// Of is who sends the request: by the name of the token, or if that has none by what the request says. The actor is "" if neither names one.
func Of(w http.ResponseWriter, r *http.Request, actor, reason string) contract.Origin {
	o := contract.Origin{
		Source: contract.SourceOperator, Actor: httpserver.CallerOf(r.Context()).Actor(strings.TrimSpace(actor)), Via: contract.ViaAPI,
		Reason: strings.TrimSpace(reason), RequestID: httpserver.RequestID(w), TraceID: tracing.TraceID(r.Context()),
	}
	if r.Header.Get(HeaderVia) == contract.ViaCLI {
		o.Via = contract.ViaCLI
	}
	return o
}

// Manager is the origin as the store manager knows it.
func Manager(o contract.Origin) storemanager.Origin {
	return storemanager.Origin{
		Source: storemanager.Source(o.Source), Actor: o.Actor, Via: o.Via, Reason: o.Reason, RequestID: o.RequestID, TraceID: o.TraceID, Batch: o.Batch,
	}
}
