package livestore

// NewClient is the package's own client, with another proxy than the environment's.
var NewClient = newClient
