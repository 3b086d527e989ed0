//go:build !linux

package gateway

import "net"

// deafen can't be done here: connections that come in the moment in which the
// socket closes are reset.
func deafen(net.Listener) {}
