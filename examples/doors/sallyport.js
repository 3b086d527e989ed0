// The request's body goes to Sallyport first; then nginx forwards the request as it came.
async function guard(r) {
    const d = await r.subrequest('/_sallyport/body', { method: 'POST' });
    if (d.status === 204) {
        r.variables.sallyport_subject = d.headersOut['X-Auth-Subject'] || '';
        r.variables.sallyport_scope = d.headersOut['X-Auth-Scope'] || '';
        r.internalRedirect('@guarded');
        return;
    }
    const status = Number(d.headersOut['X-Sallyport-Status']);
    if (!(status >= 400)) { // nobody decided: closed. Open: r.internalRedirect('@guarded')
        r.headersOut['Content-Type'] = 'application/problem+json';
        r.return(503, '{"title":"The service is not available now","status":503}');
        return;
    }
    ['Content-Type', 'WWW-Authenticate', 'Retry-After', 'Allow', 'Cache-Control', 'X-Request-Id'].forEach(function (name) {
        if (d.headersOut[name]) {
            r.headersOut[name] = d.headersOut[name];
        }
    });
    r.return(status, d.responseText);
}
export default { guard };
