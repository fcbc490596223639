package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

const (
	// fileSuffix makes the name of a secret that of the variable which says in what file the secret is.
	fileSuffix = "_FILE"
	// maxSecretFile is how many bytes the file of a secret may have.
	maxSecretFile = 64 << 10
)

// secretTypes are the types of settings that may be read from files.
var secretTypes = []reflect.Type{
	reflect.TypeFor[Secret](), reflect.TypeFor[Secrets](), reflect.TypeFor[Operators](), reflect.TypeFor[PostgresURL](),
}

func isSecret(kind reflect.Type) bool { return slices.Contains(secretTypes, kind) }

// Resolve returns the environment with those of the secrets that a variable NAME_FILE says the file of, as variables NAME. The error has one line
// for each file that can't be used.
func Resolve(environ []string, secrets ...string) ([]string, error) {
	resolved, _, problems := resolve(environ, func(name string) bool { return slices.Contains(secrets, name) })
	if len(problems) > 0 {
		return nil, errors.New(strings.Join(problems, "\n"))
	}
	return resolved, nil
}

// secretFiles are the paths of files of secrets, by the names of the secrets.
type secretFiles map[string]string

// resolve is Resolve for the secrets that wanted selects; nil selects all.
func resolve(environ []string, wanted func(name string) bool) (resolved []string, files secretFiles, problems []string) {
	resolved, files = slices.Clone(environ), secretFiles{}
	for field := range fields(&Config{}) {
		name := field.Tag.Get("env")
		path := lookup(environ, name+fileSuffix)
		if path == "" || !isSecret(field.Type) || wanted != nil && !wanted(name) {
			continue
		}
		if Given(environ, name) {
			problems = append(problems, fmt.Sprintf("%s and %s are both set: leave one of them out", name, name+fileSuffix))
			continue
		}
		files[name] = path
		content, err := readSecret(path)
		if err != nil {
			problems = append(problems, fmt.Sprintf("%s=%s is not accepted: %v", name+fileSuffix, strconv.Quote(path), err))
			continue
		}
		resolved = append(resolved, name+"="+content)
	}
	return resolved, files, problems
}

func lookup(environ []string, name string) (value string) {
	for _, pair := range environ {
		if n, v, _ := strings.Cut(pair, "="); n == name {
			value = v
		}
	}
	return value
}

// readSecret returns what is in the file, without the end of its line. The error says what to do, and quotes nothing of the file.
func readSecret(path string) (string, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		return "", errors.New("it is no regular file, want one that holds the secret alone")
	}
	if err != nil {
		return "", unreadable(err)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", unreadable(err)
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	switch secret := strings.TrimRight(string(text), "\r\n"); {
	case err != nil:
		return "", unreadable(err)
	case len(text) > maxSecretFile:
		return "", errors.New("the file is over 64 KiB, want one that holds the secret alone")
	case secret == "":
		return "", errors.New("the file is empty, write the secret into it")
	case strings.ContainsRune(secret, 0):
		return "", errors.New("the file is no text, want one that holds the secret alone")
	default:
		return secret, nil
	}
}

func unreadable(err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		err = path.Err
	}
	return fmt.Errorf("the file can't be read (%w), see that it is there and that this process may read it", err)
}

// open are the files that all users of the machine may read, as "NAME_FILE=path", sorted. Kubernetes mounts a secret like that unless its
// defaultMode says otherwise.
func (f secretFiles) open() (all []string) {
	for name, path := range f {
		if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o004 != 0 && reachable(path) {
			all = append(all, name+fileSuffix+"="+path)
		}
	}
	slices.Sort(all)
	return all
}

// reachable says whether all users may enter the directory of the file, as far as that one alone says.
func reachable(path string) bool {
	info, err := os.Stat(filepath.Dir(path))
	return err != nil || info.Mode().Perm()&0o001 != 0
}

// named puts the files of secrets into lines about the secrets: who set a file looks for its name.
func (f secretFiles) named(lines []string) []string {
	for i, line := range lines {
		name, rest, ok := strings.Cut(line, "="+redacted)
		if path := f[name]; ok && path != "" {
			lines[i] = name + fileSuffix + "=" + strconv.Quote(path) + rest
		}
	}
	return lines
}
