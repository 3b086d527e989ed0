//go:build unix && !linux

package http1

// hungUp: elsewhere only a connection that is gone both ways shows, as an error.
const hungUp = 0
