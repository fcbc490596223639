package backup

// SetStep has f told of each step of a restore. It is for a process that restores once.
func SetStep(f func(string)) { step = f }

// What tests know of the files.
const (
	JournalFile = journalFile
	AsideDir    = asideDir
	WorkDir     = workDir
)
