package http1

import "golang.org/x/sys/unix"

// hungUp waits for the end of what the other side sends, even behind bytes not yet read.
const hungUp = unix.POLLRDHUP
