package sqlite

// What the tests of the files know of them.
const (
	ApplicationID = applicationID
	LogSize       = logSize
	MaxLog        = maxLog
	MarkBlock     = markBlock
	MarkSize      = markSize
	SelectCounts  = selectCounts
)

var (
	Migrations    = migrations
	MarkOf        = markOf
	SchemaVersion = schemaVersion
)
