package actions

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"storekeeper/internal/edge/api"
	"storekeeper/internal/edge/asker"
	"storekeeper/internal/edge/problem"
	"storekeeper/internal/httpserver"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/telemetry"
)

// bulkParallelism is how many stores of one request are worked on at a time. Webhooks must get through beside them.
const bulkParallelism = 8

// verbs are those of a bulk request.
var verbs = append(Verbs(), VerbPause, VerbResume)

// Bulk serves POST /admin/bulk. It first keeps in the audit trail who asks for what of which stores: then what comes of each. It goes on when the
// caller hangs up. A store for which it can't be done keeps none of the others from it.
func (a *Actions) Bulk(w http.ResponseWriter, r *http.Request) {
	var body api.BulkRequest
	if refused := readBody(w, r, &body); refused != nil {
		refused.Write(w)
		return
	}
	o, refused := a.beginBulk(w, r, &body)
	if refused != nil {
		refused.Write(w)
		return
	}
	ctx, requestID := context.WithoutCancel(r.Context()), httpserver.LogRequestID(w)
	answer := api.BulkAnswer{Batch: o.origin.Batch, Results: make([]api.ActionAnswer, len(body.IDs))}
	var g errgroup.Group
	g.SetLimit(bulkParallelism)
	for i, id := range body.IDs {
		g.Go(func() error {
			result, refused := a.carryOut(ctx, o, id)
			if refused != nil {
				result = api.ActionAnswer{InstanceID: id, Error: refused.Message}
			}
			a.tell(requestID, o, id, result.Status, refused)
			answer.Results[i] = result
			return nil
		})
	}
	_ = g.Wait() // always nil
	for _, result := range answer.Results {
		if result.Error != "" {
			answer.Failed++
		}
	}
	a.log.Info("operator's actions ended", requestID, zap.String("verb", o.verb), zap.String("batch", o.origin.Batch),
		zap.String(telemetry.KeyActor, o.origin.Actor), zap.Int("stores", len(body.IDs)), zap.Int("failed", answer.Failed))
	httpserver.WriteJSON(w, http.StatusOK, answer)
}

// beginBulk checks what is asked for, and keeps it in the audit trail.
func (a *Actions) beginBulk(w http.ResponseWriter, r *http.Request, body *api.BulkRequest) (order, *problem.Refusal) {
	if !slices.Contains(verbs, body.Verb) {
		return order{}, problem.Invalid("verb must be one of " + strings.Join(verbs, ", "))
	}
	if n := len(body.IDs); n == 0 || n > storemanager.MaxBatch {
		return order{}, problem.Invalid(fmt.Sprintf("ids must be 1 to %d store ids, not %d", storemanager.MaxBatch, n))
	}
	seen := map[string]bool{}
	for _, id := range body.IDs {
		if !storemanager.ValidID(id) {
			return order{}, problem.Invalid(fmt.Sprintf("%.80q is not a valid store id: %s", id, problem.StoreIDRule))
		}
		if seen[id] {
			return order{}, problem.Invalid(id + " is in ids twice")
		}
		seen[id] = true
	}
	o, refused := orderOf(w, r, body.Verb, body.ActionRequest)
	if refused != nil {
		return order{}, refused
	}
	o.origin.Batch = strings.TrimSpace(body.Batch)
	if o.origin.Batch == "" {
		o.origin.Batch = uuid.NewString()
	}
	ctx, cancel := context.WithTimeout(r.Context(), managerTimeout)
	defer cancel()
	if err := a.manager.NoteBatch(ctx, storemanager.Batch{Verb: o.verb, Origin: asker.Manager(o.origin), StoreIDs: body.IDs}); err != nil {
		return order{}, a.managerAway(err)
	}
	return o, nil
}
