package localinfra

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/graychain/graychain/internal/proc"
)

const (
	// archiveLimit bounds the run that makes an archive, 10 to 20 s on two cores: where others keep the processor busy, an
	// archive is not worth the wait.
	archiveLimit = 60 * time.Second
	// archivePause is how long after a failure nobody tries again.
	archivePause = time.Hour
)

// archivePath is where a product's AppCDS archive for one build of Java lies.
func (i *installed) archivePath(j *java) string {
	sum := sha256.Sum256([]byte(j.path + "\n" + j.build))
	return filepath.Join(i.dir, "classes-"+hex.EncodeToString(sum[:6])+".jsa")
}

// archives makes what archives are missing, all at the same time, and returns the JVM arguments that use them, by product.
// An archive only saves time: where it cannot be made, that is told as an Event, and tried again an hour later at the
// earliest.
func (f *fetcher) archives(ctx context.Context, products ...*installed) map[string][]string {
	var mu sync.Mutex
	args := map[string][]string{}
	var wg sync.WaitGroup
	for _, i := range products {
		wg.Go(func() {
			path := i.archivePath(f.java)
			if checkArchive(path) != nil && !f.makeArchive(ctx, i, path) {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			args[i.name] = []string{"-XX:SharedArchiveFile=" + path}
		})
	}
	wg.Wait()
	return args
}

// makeArchive makes a product's archive and reports whether there is one now.
func (f *fetcher) makeArchive(ctx context.Context, i *installed, path string) bool {
	failed := path + ".failed"
	lately := func() bool {
		info, err := os.Stat(failed)
		return err == nil && time.Since(info.ModTime()) < archivePause
	}
	if lately() {
		return false
	}
	l, err := i.lock(ctx, f.cache, f.record)
	if err != nil {
		return false
	}
	defer func() { _ = l.Unlock() }()
	if checkArchive(path) == nil {
		return true // another program was quicker
	}
	if lately() {
		return false
	}
	removeAll(filepath.Join(i.dir, "trial-*")) // what a killed trial run left
	done := f.record.step(i.name, "archive", "one trial run, to start quicker from now on")
	limited, cancel := context.WithTimeout(ctx, archiveLimit)
	defer cancel()
	err = f.trialRun(limited, i, path)
	if err == nil {
		done("")
		return true
	}
	f.record.event(Event{Server: i.name, Step: "archive", Problem: fmt.Errorf("no archive of %s: %w", i.title(), err)})
	if ctx.Err() == nil { // nobody gave the whole start up
		_ = os.WriteFile(failed, []byte(err.Error()+"\n"), 0o644)
	}
	return false
}

// trialRun starts a product on free ports with its data in a folder that is thrown away, lets the JVM write the archive, and
// kills it.
func (f *fetcher) trialRun(ctx context.Context, i *installed, path string) (err error) {
	jcmd := f.java.tool("jcmd")
	if jcmd == "" {
		return fmt.Errorf("%q has no jcmd beside it", f.java.path)
	}
	dir, err := os.MkdirTemp(i.dir, "trial-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var ports portFinder
	defer ports.release()
	fresh := filepath.Join(dir, "classes.jsa")
	at := func(name string, port int, jvm ...string) site {
		return site{
			java: f.java, from: i, dir: filepath.Join(dir, name), port: port, jvm: jvm,
			log: filepath.Join(f.logs, "archive-"+name+".log"),
		}
	}
	record := "-XX:+RecordDynamicDumpInfo"

	var launches []launch
	switch i.name {
	case Nacos:
		port, _, err := ports.choose(Nacos, Port{Number: 2*DefaultNacosPort + 1})
		if err != nil {
			return err
		}
		l, err := at(Nacos, port, record).nacos()
		if err != nil {
			return err
		}
		launches = append(launches, l)
	case RocketMQ:
		// The broker's classes are nearly all that the name server has: one archive serves both.
		nameserver, _, err := ports.choose(Namesrv, Port{Number: 2*DefaultNamesrvPort + 1})
		if err != nil {
			return err
		}
		broker, _, err := ports.choose(Broker, Port{Number: 2*DefaultBrokerPort + 1})
		if err != nil {
			return err
		}
		n, err := at(Namesrv, nameserver).nameServer()
		if err != nil {
			return err
		}
		s := at(Broker, broker, record)
		s.namesrv = n.addr
		b, err := s.broker()
		if err != nil {
			return err
		}
		launches = append(launches, n, b)
	}
	var running []*proc.Process
	defer func() { err = errors.Join(err, stopNow(running)) }()
	for _, l := range launches {
		l.spec.Name += " (trial run)"
		l.spec.OneShot = true
		p, err := f.group.Start(ctx, l.spec)
		if err != nil {
			return err
		}
		running = append(running, p)
	}
	for n, p := range running {
		if err := p.WaitReady(ctx, readyPoll, launches[n].check); err != nil {
			return err
		}
	}
	recorded := running[len(running)-1]
	dump, err := f.group.Start(ctx, proc.Spec{
		Name: "jcmd for " + i.title(), Path: jcmd, Env: javaEnviron(os.Environ()), OneShot: true, Grace: proc.KillAtOnce,
		Args: []string{strconv.Itoa(recorded.PID()), "VM.cds", "dynamic_dump", fresh},
		Log:  filepath.Join(f.logs, "archive-"+i.name+"-dump.log"),
	})
	if err != nil {
		return err
	}
	if err := f.finish(ctx, dump, func() {}); err != nil {
		return err
	}
	if info, err := os.Stat(fresh); err != nil || info.Size() == 0 {
		return fmt.Errorf("the JVM wrote none, but: %s", strings.Join(dump.Tail(3), " "))
	}
	return storeArchive(fresh, path)
}

// The JVM ignores an archive that does not fit, but one that is cut short or damaged makes it crash. So each has a file
// beside it with its size and checksum, written last.

func sumPath(archive string) string { return archive + ".sum" }

// sumOf is the content of an archive's sum file.
func sumOf(archive string) (string, error) {
	f, err := os.Open(archive)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := crc32.New(crc32.MakeTable(crc32.Castagnoli)) // some 10 ms for 100 MB: accidents are meant, not attacks
	n, err := io.Copy(h, f)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d bytes, crc32c %08x\n", n, h.Sum32()), nil
}

// checkArchive tells what is wrong with an archive, a missing one included.
func checkArchive(path string) error {
	want, err := os.ReadFile(sumPath(path))
	if err != nil {
		return err
	}
	got, err := sumOf(path)
	if err != nil {
		return err
	}
	if got != string(want) {
		return fmt.Errorf("%s has %q instead of %q", path, got, want)
	}
	return nil
}

// storeArchive moves a fresh archive to its place.
func storeArchive(fresh, path string) error {
	sum, err := sumOf(fresh)
	if err != nil {
		return err
	}
	if err := os.Rename(fresh, path); err != nil {
		return err
	}
	return os.WriteFile(sumPath(path), []byte(sum), 0o644)
}

// stopNow kills what still runs.
func stopNow(running []*proc.Process) error {
	var errs []error
	for _, p := range running {
		errs = append(errs, p.Kill())
	}
	return errors.Join(errs...)
}
