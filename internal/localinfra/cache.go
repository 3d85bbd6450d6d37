package localinfra

import (
	"archive/zip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/graychain/graychain/internal/proc"
)

// ErrFetch means that Maven or the compiler failed.
var ErrFetch = errors.New("cannot fetch the server")

// stampFile says what a folder of the cache holds; a folder without it is none of ours.
const stampFile = "stamp.json"

// stamp is the content of a stampFile.
type stamp struct {
	Key  string           `json:"key"`
	Jars map[string]int64 `json:"jars"` // sizes by name
}

// installed is a product in the cache.
type installed struct {
	product
	dir  string
	jars []string // in the order of the class path, as paths
}

func (i *installed) classPath() string {
	return strings.Join(i.jars, string(filepath.ListSeparator))
}

// load reads a product from the cache. A missing, changed or damaged one is an error that says what is wrong.
func (p product) load(cache string) (*installed, error) {
	dir := filepath.Join(cache, p.title())
	data, err := os.ReadFile(filepath.Join(dir, stampFile))
	if err != nil {
		return nil, err
	}
	var s stamp
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("%s: %w", stampFile, err)
	}
	if s.Key != p.key() {
		return nil, fmt.Errorf("%s is for another pom or another layout", stampFile)
	}
	names := make([]string, 0, len(s.Jars))
	for name, size := range s.Jars {
		info, err := os.Stat(filepath.Join(dir, "lib", name))
		if err != nil {
			return nil, err
		}
		if info.Size() != size {
			return nil, fmt.Errorf("%s has %d bytes instead of %d", name, info.Size(), size)
		}
		names = append(names, name)
	}
	if m := p.missing(names); m != "" {
		return nil, fmt.Errorf("%s is missing", m)
	}
	i := &installed{product: p, dir: dir}
	for _, name := range p.sortJars(names) {
		i.jars = append(i.jars, filepath.Join(dir, "lib", name))
	}
	return i, nil
}

// store moves a folder whose lib holds a product's jars to its place in the cache, in the place of an older one.
func (p product) store(cache, from string) (*installed, error) {
	s := stamp{Key: p.key(), Jars: map[string]int64{}}
	entries, err := os.ReadDir(filepath.Join(from, "lib"))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		if strings.HasSuffix(e.Name(), ".jar") {
			s.Jars[e.Name()] = info.Size()
			names = append(names, e.Name())
		}
	}
	if m := p.missing(names); m != "" {
		return nil, fmt.Errorf("%w %s: %s is not among the %d jars that came", ErrFetch, p.title(), m, len(names))
	}
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(from, stampFile), append(data, '\n'), 0o644); err != nil {
		return nil, err
	}
	dir := filepath.Join(cache, p.title())
	old := from + ".old"
	if err := os.Rename(dir, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := os.Rename(from, dir); err != nil {
		return nil, err
	}
	_ = os.RemoveAll(old) // a running server goes on with the files that it has open
	return p.load(cache)
}

// lock takes a product's lock in the cache: one program at a time changes it.
func (p product) lock(ctx context.Context, cache string, r *recorder) (*proc.FileLock, error) {
	var done func(string)
	l, err := proc.Lock(ctx, filepath.Join(cache, p.title()+".lock"), fmt.Sprintf("graychain, pid %d", os.Getpid()), func(why error) {
		done = r.step(p.name, "wait", "another program is preparing it")
	})
	if done != nil {
		done("")
	}
	return l, err
}

// fetcher brings products into the cache.
type fetcher struct {
	cache, logs string
	group       *proc.Group
	java        *java
	record      *recorder
}

// ensure returns a product from the cache, and fetches it where it isn't there.
func (f *fetcher) ensure(ctx context.Context, p product) (*installed, error) {
	if i, err := p.load(f.cache); err == nil {
		return i, nil
	}
	// What is missing is said before anything waits.
	maven, err := findMaven()
	if err != nil {
		return nil, err
	}
	compiler, err := f.java.compiler()
	if err != nil {
		return nil, err
	}
	l, err := p.lock(ctx, f.cache, f.record)
	if err != nil {
		return nil, err
	}
	defer func() { _ = l.Unlock() }()
	if i, err := p.load(f.cache); err == nil {
		return i, nil // another program was quicker
	}
	removeAll(filepath.Join(f.cache, "."+p.title()+"-*")) // what a killed fetch left; the lock keeps everyone else out
	tmp, err := os.MkdirTemp(f.cache, "."+p.title()+"-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	if err := f.fetch(ctx, p, maven, tmp); err != nil {
		return nil, err
	}
	if p.source != "" {
		if err := f.compile(ctx, p, compiler, tmp); err != nil {
			return nil, err
		}
	}
	return p.store(f.cache, tmp)
}

// fetch lets Maven copy a product's jars into tmp/lib.
func (f *fetcher) fetch(ctx context.Context, p product, maven, tmp string) error {
	pom, err := files.ReadFile(p.pom)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(tmp, "pom.xml"), pom, 0o644); err != nil {
		return err
	}
	lib := filepath.Join(tmp, "lib")
	done := f.record.step(p.name, "fetch", "its jars by Maven")
	m, err := f.group.Start(ctx, proc.Spec{
		Name: "mvn for " + p.title(), Path: maven, Dir: tmp, OneShot: true, Grace: 2 * time.Second,
		Args: []string{"-B", "-f", filepath.Join(tmp, "pom.xml"), "dependency:copy-dependencies", "-DoutputDirectory=" + lib},
		Log:  filepath.Join(f.logs, "fetch-"+p.name+".log"),
	})
	if err != nil {
		return err
	}
	var last download
	err = f.finish(ctx, m, func() {
		if d := downloads(m.Spec().Log); d != last {
			last = d
			f.record.event(Event{Server: p.name, Step: "fetch", Detail: d.String()})
		}
	})
	if err != nil {
		return fmt.Errorf("%w %s: %w", ErrFetch, p.title(), err)
	}
	last = downloads(m.Spec().Log)
	entries, err := os.ReadDir(lib)
	if err != nil {
		return fmt.Errorf("%w %s: Maven copied nothing: %w", ErrFetch, p.title(), err)
	}
	done(fmt.Sprintf("%d jars, %s", len(entries), last))
	return nil
}

// compile makes tmp/lib's mainJar out of a product's source.
func (f *fetcher) compile(ctx context.Context, p product, compiler, tmp string) error {
	source, err := files.ReadFile(p.source)
	if err != nil {
		return err
	}
	path := filepath.Join(tmp, filepath.Base(p.source))
	if err := os.WriteFile(path, source, 0o644); err != nil {
		return err
	}
	classes := filepath.Join(tmp, "classes")
	done := f.record.step(p.name, "compile", filepath.Base(p.source))
	c, err := f.group.Start(ctx, proc.Spec{
		Name: "javac for " + p.title(), Path: compiler, Dir: tmp, OneShot: true, Grace: proc.KillAtOnce, Env: javaEnviron(os.Environ()),
		Args: []string{"--release", fmt.Sprint(oldestJava), "-proc:none", "-cp", filepath.Join(tmp, "lib", "*"), "-d", classes, path},
		Log:  filepath.Join(f.logs, "compile-"+p.name+".log"),
	})
	if err != nil {
		return err
	}
	if err := f.finish(ctx, c, func() {}); err != nil {
		return fmt.Errorf("%w %s: %w", ErrFetch, p.title(), err)
	}
	done("")
	if err := writeJar(filepath.Join(tmp, "lib", mainJar), classes); err != nil {
		return err
	}
	return os.RemoveAll(classes)
}

// finish waits for a one-shot process, and stops it where ctx ends first.
func (f *fetcher) finish(ctx context.Context, p *proc.Process, tick func()) error {
	every := time.NewTicker(300 * time.Millisecond)
	defer every.Stop()
	for {
		select {
		case <-every.C:
			tick()
			continue
		case <-p.Done():
		case <-ctx.Done():
		}
		break
	}
	if err := context.Cause(ctx); err != nil && p.Exit() == nil {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		return errors.Join(err, p.Stop(stop))
	}
	return p.Wait(ctx)
}

// removeAll removes what matches a pattern, as far as it can.
func removeAll(pattern string) {
	matches, _ := filepath.Glob(pattern)
	for _, m := range matches {
		_ = os.RemoveAll(m)
	}
}

// writeJar packs a folder of classes. A jar is a zip file; the JVM needs no manifest in it.
func writeJar(path, dir string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	z := zip.NewWriter(f)
	return errors.Join(z.AddFS(os.DirFS(dir)), z.Close(), f.Close())
}
