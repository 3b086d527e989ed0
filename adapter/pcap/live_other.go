//go:build !linux

package pcap

import (
	"errors"
	"time"
)

type watcher struct{}

func watch(string) (*watcher, error) { return nil, errors.New("live capture is for Linux") }

func (*watcher) read() ([]byte, time.Time, error) { return nil, time.Time{}, errors.ErrUnsupported }
func (*watcher) dropped() int                     { return 0 }
func (*watcher) close()                           {}
