package contract

// Types of the errors that activities and workflows fail with.
const (
	// ErrTypeInvalid: the request can never succeed as it is, so it is not retried.
	ErrTypeInvalid = "Invalid"
	// ErrTypeNotFound: no such store is monitored. Not retried.
	ErrTypeNotFound = "NotFound"
	// ErrTypeUnauthorized: a token was refused. Retried, because an operator can correct the token while the event waits.
	ErrTypeUnauthorized = "Unauthorized"
	// ErrTypePlanChanged: the plan is no longer the one that was approved. Not retried.
	ErrTypePlanChanged = "PlanChanged"
	// ErrTypeUnavailable: everything else, such as the Auth Worker or the store manager being away. Retried.
	ErrTypeUnavailable = "Unavailable"
)
