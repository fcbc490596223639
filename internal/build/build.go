// Package build says which build of Storekeeper this is. It is a package of its own so that a command which only shows its version links
// nothing else for it.
package build

// Version is the version of this build, set by the linker:
//
//	go build -ldflags "-X storekeeper/internal/build.Version=v1.2.3"
var Version = "dev"
