package temporalserver

// FailSyncs has each sync of the log fail from now on.
func (s *Server) FailSyncs(err error) {
	d := s.upkeep.durability
	d.mu.Lock()
	defer d.mu.Unlock()
	d.toDisk = func() error { return err }
}

// Synchronous is what each file is opened with.
func (s *Server) Synchronous() (executions, visibility string) {
	return s.files.data.executions.ConnectAttributes["synchronous"], s.files.data.visibility.ConnectAttributes["synchronous"]
}
