package graynacos

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxDocument bounds what is read from the disk; Nacos itself takes 10 MiB at most
// (nacos.config.max.content, com.alibaba.nacos.config.server.utils).
const maxDocument = 10 << 20

// disk keeps the last good document in a file. Processes that share it replace it as a whole, so that a reader sees one
// writer's document or another's.
type disk struct {
	path string // empty = none is kept
}

// newDisk returns where the document of one namespace, cluster, group and data id is kept. Clusters are apart, because a
// revision means nothing in another's document.
func newDisk(state, namespace, cluster, group, dataID string) (disk, error) {
	if state == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return disk{}, err
		}
		state = filepath.Join(cache, "graychain")
	}
	if namespace == "" {
		namespace = "public"
	}
	return disk{filepath.Join(state, fileName(namespace), cluster, fileName(group), fileName(dataID))}, nil
}

// load returns the document, or nil where there is none.
func (d disk) load() ([]byte, error) {
	if d.path == "" {
		return nil, nil
	}
	info, err := os.Stat(d.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case info.Size() > maxDocument:
		return nil, fmt.Errorf("%s: %d bytes are more than a document can have (%d)", d.path, info.Size(), maxDocument)
	}
	return os.ReadFile(d.path)
}

// save replaces the document.
func (d disk) save(content []byte) error {
	if d.path == "" {
		return nil
	}
	dir := filepath.Dir(d.path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "."+filepath.Base(d.path)+"-*")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), d.path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// fileName makes a file's name of s: what isn't a letter, a digit or one of .-_, becomes %XX.
func fileName(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == ',',
			c == '.' && i > 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
