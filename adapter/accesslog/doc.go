// Package accesslog reads the access logs of other doors. In come files (plain,
// gzip, growing, rotated) or single lines; out go exchanges, redacted, one for
// each line.
//
// The format of a file is found by looking at its first lines, or given: by
// name, as the log_format of nginx, the LogFormat of Apache and varnishncsa, the
// log-format of HAProxy or the format string of Envoy. JSON lines are read by
// the names that Caddy, Traefik, HAProxy, Envoy, AWS and the usual nginx
// configurations give their members; W3C logs (CloudFront, IIS) by their own
// #Fields.
//
// A line that cannot be read is counted, and the first is named by file and line
// with a reason that quotes nothing of it. Lines longer than 64 KiB are counted
// so too. The package keeps no more than two lines of a file in memory, writes
// nothing, and changes no file.
package accesslog
