package api

import (
	"time"

	"storekeeper/contract"
)

// ActionRequest is the body of POST /stores/{id}/{verb}. What does not belong to a verb is refused.
type ActionRequest struct {
	// Reason is kept in the audit trail. It is required, but of provision and release.
	Reason string `json:"reason,omitempty"`
	// Actor is not needed when the token has a name.
	Actor string `json:"actor,omitempty"`
	// ExpiresAt ends a hold, of hold and of cancel-deletion, or a pause by itself; null or left out: a hold ends in a week, a pause never.
	ExpiresAt *time.Time `json:"expiresAt,omitempty"`
	// GracePeriod of a deletion, such as "24h"; left out: the worker's DELETION_GRACE_PERIOD.
	GracePeriod string `json:"gracePeriod,omitempty"`
}

// ActionAnswer is the answer of POST /stores/{id}/{verb}: 200 with the outcome, or 202 when that is not known in time.
type ActionAnswer struct {
	InstanceID string `json:"instanceId"`
	// DeliveryID is that of the event; left out of a pause, which is none.
	DeliveryID string `json:"deliveryId,omitempty"`
	contract.Result
	// Error is why nothing was done; it is only there in a BulkAnswer.
	Error string `json:"error,omitempty"`
}

// BulkRequest is the body of POST /admin/bulk: the same for several stores.
type BulkRequest struct {
	ActionRequest
	// Verb is one of the verbs, or pause or resume.
	Verb string `json:"verb"`
	// IDs are 1 to 1000 stores.
	IDs []string `json:"ids"`
	// Batch binds several requests; left out: the edge makes one.
	Batch string `json:"batch,omitempty"`
}

// BulkAnswer is the answer of POST /admin/bulk.
type BulkAnswer struct {
	// Batch is what the entries of the audit trail have in common.
	Batch string `json:"batch"`
	// Results are in the order of BulkRequest.IDs.
	Results []ActionAnswer `json:"results"`
	// Failed counts those with an error.
	Failed int `json:"failed"`
}

// ApproveRequest is the body of POST /admin/approve.
type ApproveRequest struct {
	// Plan is the hash of the plan, as a run or a plan has shown it.
	Plan   string `json:"plan"`
	Reason string `json:"reason"`
	// Actor is not needed when the token has a name.
	Actor string `json:"actor,omitempty"`
}
