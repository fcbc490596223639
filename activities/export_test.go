package activities

// Origin is origin, for tests.
var Origin = origin
