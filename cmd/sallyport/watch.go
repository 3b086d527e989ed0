package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// quiet is how long a file must rest after a change: editors write in steps.
const quiet = 300 * time.Millisecond

// A fileWatch names files that were saved. It watches their folders, because
// editors and secret mounts replace files rather than write into them.
type fileWatch struct {
	*fsnotify.Watcher
	changed chan string
	follows chan []string
}

func newFileWatch() (*fileWatch, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch files: %w", err)
	}
	f := &fileWatch{w, make(chan string), make(chan []string)}
	go f.run()
	return f, nil
}

// follow replaces the list of files; URLs and what does not exist are left out.
func (f *fileWatch) follow(files []string) { f.follows <- files }

func (f *fileWatch) run() {
	wanted := map[string]bool{}
	var pending string
	var rest <-chan time.Time
	var out chan string
	for {
		select {
		case files := <-f.follows:
			clear(wanted)
			for _, file := range files {
				f.add(file, wanted)
			}
		case ev, ok := <-f.Events:
			if !ok {
				return
			}
			if wanted[ev.Name] || wanted[filepath.Dir(ev.Name)] {
				pending, rest, out = ev.Name, time.After(quiet), nil
			}
		case _, ok := <-f.Errors:
			if !ok {
				return
			}
		case <-rest:
			rest, out = nil, f.changed
		case out <- pending:
			out = nil
		}
	}
}

func (f *fileWatch) add(file string, wanted map[string]bool) {
	if strings.Contains(file, "://") {
		return
	}
	file, err := filepath.Abs(file)
	if err != nil {
		return
	}
	dir := filepath.Dir(file)
	if info, err := os.Stat(file); err == nil && info.IsDir() {
		dir = file
	}
	if f.Add(dir) == nil {
		wanted[file] = true
	}
}
