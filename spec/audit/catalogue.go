package audit

// catalogue: id, severity, title, why it matters, what mends it, references.
var catalogue = parse(`
auth.none|high|The document demands no credential anywhere|What the contract leaves open nobody enforces.|Declare a security scheme and require it.|API2:2023 CWE-306
auth.read-open|medium|An operation that reads needs no credential, unlike others|What one operation gives away the others guard in vain.|Require the scheme of the others, or write security: [] with a reason in the description.|API2:2023 CWE-306
auth.write-open|high|An operation that changes something needs no credential|Anyone can change data without being known.|Require a scheme.|API2:2023 CWE-306
auth.optional|medium|A credential may be left out|The empty alternative lets everybody in.|Remove {} from the alternatives, or split the operation.|API2:2023 CWE-287
auth.scheme-unknown|high|A required scheme is not declared|Tools skip what they do not know: nothing is demanded.|Declare the scheme or mend its name.|API2:2023 CWE-1059
auth.scheme-unused|low|A declared scheme is used by no operation|A way in that nobody reviews, or a requirement that was forgotten.|Require it or remove it.|API9:2023 CWE-1164
auth.scheme-incomplete|medium|A security scheme lacks what its type needs|Clients and gateways cannot apply it.|Complete it as the specification says.|API2:2023 CWE-1059
auth.scheme-type|medium|The type of a security scheme is not known|Tools skip it: nothing is demanded.|Use a type of this version of OpenAPI.|API2:2023 CWE-1059
auth.basic|medium|HTTP Basic authentication|The password travels with every request and does not end.|Use tokens that end (OAuth 2, OpenID Connect).|API2:2023 CWE-522
auth.digest|low|HTTP Digest authentication|It rests on MD5 in practice and binds nothing to the session.|Use OAuth 2 or mutual TLS.|API2:2023 CWE-327
auth.scheme-unregistered|low|The HTTP scheme is not registered|Clients and gateways do not know how to apply or to check it.|Use a scheme of the IANA registry.|API2:2023 CWE-287
auth.key-in-query|high|An API key travels in the query|URLs stand in logs, histories and Referer headers.|Send it in a header.|API2:2023 CWE-598
auth.key-in-cookie|low|A credential travels in a cookie|Browsers send it with requests that others forge.|Demand SameSite and a token against forgery, or use a header.|API2:2023 CWE-352
auth.key-as-authorization|low|An API key in the Authorization header without a scheme|Programs that know the header misread it; a bearer scheme says what it is.|Declare type: http, scheme: bearer.|API2:2023 CWE-287
auth.key-only-write|low|Changes are guarded by a static key alone|A key that leaks works until somebody notices.|Use short-lived tokens for operations that change something.|API2:2023 CWE-798
auth.oauth-implicit|high|OAuth 2 implicit flow|Tokens stand in URLs; RFC 9700 section 2.1.2 says not to use it.|Use the authorization code flow with PKCE.|API2:2023 CWE-598
auth.oauth-password|high|OAuth 2 password flow|Users give their password to a client; RFC 9700 section 2.4 forbids it.|Use the authorization code flow with PKCE.|API2:2023 CWE-522
auth.oauth-no-flow|medium|OAuth 2 without a flow|No client can obtain a token from what is written.|Declare the flows.|API2:2023 CWE-1059
auth.oauth-no-scopes|low|An OAuth 2 flow without scopes|Every token may do everything.|Declare scopes and require them by operation.|API5:2023 CWE-272
auth.oauth-url-missing|medium|An OAuth 2 flow lacks a URL that it needs|Clients guess where to ask.|Give authorizationUrl and tokenUrl as the flow needs.|API2:2023 CWE-1059
auth.oauth-plain|high|An OAuth 2 URL without TLS|Codes, tokens and client secrets can be read on the way.|Use https.|API2:2023 CWE-319
auth.oidc-plain|high|The OpenID Connect URL is without TLS|Whoever is on the way chooses the signing keys.|Use https.|API2:2023 CWE-319
auth.oidc-path|low|The OpenID Connect URL is not a discovery document|Clients expect /.well-known/openid-configuration.|Give the discovery URL.|API2:2023 CWE-1059
auth.bearer-format|info|A bearer scheme does not say what its tokens are|Gateways cannot tell whether to check a signature or to ask.|Give bearerFormat.|API2:2023 CWE-1059
auth.scope-unknown|medium|A required scope is not declared|No client can ask for it, or the check is on another name.|Declare the scope in the flow.|API5:2023 CWE-1059
auth.scope-unused|info|A declared scope is required nowhere|A check that was planned and is not there.|Require it or remove it.|API5:2023 CWE-1164
auth.scope-missing|low|An OAuth 2 operation requires no scope|Any token does, whatever it was given for.|Require the scope of the operation.|API5:2023 CWE-272
auth.scope-read-for-write|medium|An operation that changes something takes a scope for reading|Tokens that may only read can change data.|Require a scope for writing.|API5:2023 CWE-269
auth.weak-alternative|medium|A weak credential is admitted beside a strong one|Attackers choose the weaker.|Remove Basic and keys from the alternatives.|API2:2023 CWE-287
auth.admin-unscoped|medium|An administrative path asks for no more than others|Ordinary callers reach functions of administrators.|Require a scope or a scheme of its own.|API5:2023 CWE-285
auth.no-401|low|A guarded operation declares no 401|Clients do not know how a refusal looks; other answers tell too much.|Declare 401.|API8:2023 CWE-394
auth.no-403|low|An operation with scopes declares no 403|Clients cannot tell a missing right from a missing login.|Declare 403.|API5:2023 CWE-394
auth.password-in-query|high|A password travels in the query|URLs stand in logs, histories and Referer headers.|Send it in the body.|API2:2023 CWE-598
auth.password-in-path|high|A password travels in the path|URLs stand in logs, histories and Referer headers.|Send it in the body.|API2:2023 CWE-598
auth.token-in-query|high|A token or secret travels in the query|URLs stand in logs, histories and Referer headers.|Send it in a header or in the body.|API2:2023 CWE-598
auth.token-in-path|medium|A token or session travels in the path|URLs stand in logs, histories and Referer headers.|Send it in a header or in the body.|API2:2023 CWE-598
auth.secret-in-response|high|An answer carries a password|No client needs it; whoever reads the answer or a log has it.|Remove it, or mark it writeOnly.|API3:2023 CWE-200
auth.login-unlimited|medium|A login or reset declares no limit|Passwords and codes are guessed.|Limit it by account and caller, and declare 429.|API2:2023 CWE-307
auth.header-parameter|low|Authorization is declared as a parameter|OpenAPI 3 says that it is ignored; in 2.0 it stands in for a scheme.|Declare a security scheme.|API2:2023 CWE-1059
transport.plain-server|high|A server without TLS|Credentials and data can be read and changed on the way.|Use https.|API8:2023 CWE-319
transport.plain-scheme|high|The schemes admit HTTP without TLS|Credentials and data can be read and changed on the way.|Leave only https.|API8:2023 CWE-319
transport.plain-websocket|high|A WebSocket without TLS|Messages can be read and changed on the way.|Use wss.|API8:2023 CWE-319
transport.no-server|low|No server is declared|Clients take the place where they read the document.|Declare servers.|API9:2023 CWE-1059
transport.local-server|low|A server on the local machine|A left-over of development in what is published.|Remove it.|API9:2023 CWE-1188
transport.private-server|low|A server at a private address|It shows the inside of the network.|Remove it from what is published.|API9:2023 CWE-200
transport.address-server|low|A server by address|Certificates are for names; the address moves.|Use a name.|API8:2023 CWE-1188
transport.server-credentials|high|A server URL holds credentials|Everybody who reads the document has them.|Remove them and change them.|API2:2023 CWE-522
transport.open-host|medium|The host of a server is a free variable|Clients can be sent to a host of the attacker's choice.|Give the variable an enum.|API8:2023 CWE-601
transport.variable-default|medium|The default of a server variable is not among its values|Clients get a URL that there is not.|Choose one of the enum.|API8:2023 CWE-1188
transport.variable-undeclared|medium|A variable of a server URL is not declared|No client can make the URL.|Declare it.|API8:2023 CWE-1059
transport.test-server|low|A server of a test or staging environment|Its data and guards are weaker, and attackers know it now.|Publish production only.|API9:2023 CWE-1125
transport.mixed|medium|The same host with and without TLS|Clients that take the first one speak in the clear.|Remove the plain one.|API8:2023 CWE-319
transport.server-query|low|A server URL has a query or fragment|Paths are appended to it: requests go elsewhere.|Remove it.|API8:2023 CWE-1059
transport.duplicate-server|info|A server stands twice|One of them was meant to be another.|Remove it.|API9:2023 CWE-1041
transport.slash-server|info|A server URL ends with a slash|Paths get two slashes; guards and servers disagree about them.|Remove the slash.|API8:2023 CWE-436
transport.plain-link|info|A link to documentation or a licence without TLS|Readers can be sent elsewhere.|Use https.|API8:2023 CWE-319
data.string-unbounded|low|Text in a request has no greatest length|Memory, storage and logs fill up.|Give maxLength, an enum or a closed format.|API4:2023 CWE-770
data.string-free|info|Text in a request has neither pattern, format nor enum|What is not described cannot be checked.|Give a pattern or a format.|API8:2023 CWE-20
data.array-unbounded|medium|A list in a request has no greatest number of items|One request becomes thousands.|Give maxItems.|API4:2023 CWE-770
data.answer-unbounded|low|A list in an answer has no greatest number of items|One caller takes everything in little time.|Give maxItems and page.|API4:2023 CWE-770
data.integer-unbounded|low|An integer in a request has no bounds|Negative amounts, overflow, enormous pages.|Give minimum and maximum.|API4:2023 CWE-1284
data.integer-format|info|An integer has no format|Programs differ in how large it may be.|Give int32 or int64.|API8:2023 CWE-190
data.number-unbounded|low|A number in a request has no bounds|Negative amounts and values that no program holds.|Give minimum and maximum.|API4:2023 CWE-1284
data.object-open|low|An object in a request admits members that are not declared|Members that nobody looks at are what attackers send.|Write additionalProperties: false.|API3:2023 CWE-915
data.object-any|medium|A request takes any members on purpose|Members reach the program unchecked.|Declare the members.|API3:2023 CWE-915
data.map-unbounded|low|A map in a request has no greatest number of members|One request becomes thousands.|Give maxProperties.|API4:2023 CWE-770
data.object-empty|medium|An object in a request has no declared members|What is not described cannot be checked.|Declare its properties.|API3:2023 CWE-1059
data.answer-open|low|An answer may carry any members|What is added inside appears outside by itself.|Declare the members.|API3:2023 CWE-213
data.schema-empty|medium|A schema admits everything|Nothing is checked.|Describe the value.|API8:2023 CWE-20
data.type-missing|low|A schema has no type|Values of other types pass its bounds.|Give the type.|API8:2023 CWE-843
data.items-missing|medium|A list does not say what its items are|Nothing of them is checked.|Give items.|API8:2023 CWE-20
data.password-format|low|A password is not marked as one|Tools show and log it.|Give format: password.|API3:2023 CWE-522
data.password-short|medium|A password may be shorter than eight characters|Short passwords are guessed (NIST SP 800-63B).|Give minLength: 8 or more.|API2:2023 CWE-521
data.sensitive-query|medium|Personal or financial data travels in the query|URLs stand in logs, histories and Referer headers.|Send it in the body.|API3:2023 CWE-598
data.sensitive-path|medium|Personal or financial data travels in the path|URLs stand in logs, histories and Referer headers.|Use an opaque identifier.|API3:2023 CWE-598
data.sensitive-open|high|Sensitive data is answered without a credential|Everybody can collect it.|Require a scheme or remove the member.|API3:2023 CWE-359
data.sensitive-write-open|medium|Sensitive data is taken without a credential|Nobody can tell whose it is; forms like this are filled by machines.|Require a scheme, or limit and confirm.|API6:2023 CWE-306
data.id-sequential|medium|Objects are addressed by integers|The next one is guessed: a missing check becomes a leak of all.|Use random identifiers (UUIDs), and check the owner.|API1:2023 CWE-639
data.id-free|low|An identifier in the path has neither format, pattern nor length|Paths and expressions hide in it.|Give format or pattern.|API1:2023 CWE-20
data.owner-in-body|medium|The body of a change says whose it is|Callers act for others by writing another id.|Take the owner from the credential.|API1:2023 CWE-639
data.owner-in-query|low|The query says whose data is asked for|Callers read what belongs to others by writing another id.|Take the owner from the credential, or check it.|API1:2023 CWE-639
data.readonly-missing|medium|What the server sets can be written|Identifiers and times are overwritten by mass assignment.|Mark it readOnly, or use a schema for input.|API3:2023 CWE-915
data.privileged-member|high|A request can set a right, a state or a balance|Callers raise their own rights by mass assignment.|Mark it readOnly, or move it to an operation for administrators.|API3:2023 CWE-915
data.direction-contradiction|medium|A member is readOnly and writeOnly|It has no place anywhere; tools differ.|Choose one.|API8:2023 CWE-1059
data.bounds-inverted|medium|A lower bound is above the upper bound|No value fits, or tools drop the check.|Exchange them.|API8:2023 CWE-1284
data.pattern-invalid|medium|A pattern is no regular expression|Tools drop the check.|Mend it (ECMA-262).|API8:2023 CWE-1286
data.pattern-unanchored|low|A pattern is not anchored|Anything may stand before or behind what it names.|Begin it with ^ and end it with $.|API8:2023 CWE-777
data.pattern-anything|low|A pattern admits everything|It looks like a check and is none.|Describe the value.|API8:2023 CWE-625
data.pattern-nested|medium|A pattern repeats a repetition|Backtracking engines take exponential time on some values.|Rewrite it without nested repetition.|API4:2023 CWE-1333
data.format-unknown|info|A format is not known|Tools do not check it.|Use a registered format, or a pattern.|API8:2023 CWE-20
data.format-mismatch|low|A format does not belong to the type|Tools drop the check.|Choose a format of the type.|API8:2023 CWE-843
data.keyword-mismatch|low|A bound does not belong to the type|It looks like a check and is none.|Use the bounds of the type.|API8:2023 CWE-1284
data.enum-duplicate|low|A value stands twice in an enum|One of them was meant to be another.|Remove it.|API8:2023 CWE-1041
data.enum-type|medium|A value of an enum does not fit the type|It can never be sent, or the type is wrong.|Mend the value or the type.|API8:2023 CWE-843
data.default-type|medium|A default does not fit its schema|Servers and clients fill in different values.|Mend the default.|API8:2023 CWE-1188
data.required-undeclared|low|A required member is not declared|A name is misspelt: the check is on nothing.|Declare it or mend its name.|API8:2023 CWE-1059
data.nullable-ignored|low|nullable has no meaning in this version|Null passes nowhere, or everywhere, as the tool likes.|Write type: [string, "null"].|API8:2023 CWE-476
data.type-list|medium|A list of types has no meaning in this version|Tools drop the check.|Use oneOf and nullable, or OpenAPI 3.1.|API8:2023 CWE-843
data.exclusive-flag|low|An exclusive bound is a flag, which this version does not know|The bound is not applied.|Write the number.|API8:2023 CWE-1284
data.ref-siblings|low|What stands beside a reference is ignored|A bound that was written is not applied.|Use allOf.|API8:2023 CWE-1059
data.composition-empty|medium|A composition without parts|Tools refuse it or admit everything.|Give its parts.|API8:2023 CWE-20
data.discriminator-missing|info|Alternatives of objects without a discriminator|Programs guess which one they got.|Give a discriminator.|API8:2023 CWE-843
data.discriminator-undeclared|medium|The discriminator names a member that is not required|Without it programs take a default nobody wrote down.|Require it in every alternative.|API8:2023 CWE-843
data.time-format|low|A date or time is free text|Programs read it differently.|Give format: date or date-time.|API8:2023 CWE-20
data.email-format|low|An e-mail address is free text|Header injection and look-alikes pass.|Give format: email and maxLength.|API8:2023 CWE-20
data.url-format|low|A URL is free text|Other schemes pass: javascript:, file:.|Give format: uri and a pattern.|API8:2023 CWE-20
data.uuid-format|low|A UUID is free text|Anything passes.|Give format: uuid.|API8:2023 CWE-20
data.money-float|low|An amount is a binary fraction|Sums lose cents; limits are passed by rounding.|Use integers of the smallest unit, or decimal text.|API6:2023 CWE-682
data.many-properties|low|An object with more than a hundred members|More is shown and taken than anyone reviews.|Split it.|API3:2023 CWE-213
data.binary-unbounded|medium|Encoded bytes without a greatest length|Memory fills up.|Give maxLength.|API4:2023 CWE-770
data.markup|medium|A request takes HTML|It is shown to others: scripts run in their browsers.|Take text, or a closed set of markup.|API8:2023 CWE-79
data.command|medium|A request takes a command, expression or query language|What is run is chosen by the caller.|Take named choices in place of language.|API8:2023 CWE-77
data.file-path|medium|A request takes the name of a file without a pattern|Names lead out of the folder.|Give a pattern without separators, or take an identifier.|API8:2023 CWE-22
data.sort-free|low|A request chooses fields or an order by free text|It ends in a query, and shows fields that are not meant to be seen.|Give an enum.|API3:2023 CWE-89
data.xml|low|A request takes XML|XML has attacks of its own (entities, expansion).|Take JSON, or bound it and refuse document types.|API8:2023 CWE-611
ssrf.url|medium|A request takes a URL that the server may fetch|The server is sent to the inside of the network.|Give a pattern of the hosts that are meant, and check the address.|API7:2023 CWE-918
ssrf.host|medium|A request takes a host or address that the server may call|The server is sent to the inside of the network.|Give an enum or a pattern of what is meant.|API7:2023 CWE-918
ssrf.redirect|medium|A request chooses where to go on to|Users are sent to the attacker's page from yours.|Give an enum or a pattern of the targets.|API8:2023 CWE-601
limits.no-429|low|An operation declares no 429|Clients do not know how a limit looks, and there may be none.|Limit it and declare 429.|API4:2023 CWE-770
limits.retry-after|low|A 429 does not say when to come back|Clients try at once again.|Declare Retry-After.|API4:2023 CWE-770
limits.no-rate-headers|info|No answer tells what is left of a limit|Clients find the limit by running into it.|Declare RateLimit headers.|API4:2023 CWE-770
limits.list-unpaged|medium|A list is answered whole|One caller takes everything in little time.|Page it: limit and cursor.|API4:2023 CWE-770
limits.page-size-unbounded|medium|The size of a page has no upper bound|One request asks for everything.|Give maximum.|API4:2023 CWE-770
limits.page-size-large|low|A page may hold more than a thousand|One request asks for very much.|Lower maximum.|API4:2023 CWE-770
limits.batch-unbounded|medium|A batch has no greatest number of items|Limits by request do not count what is inside.|Give maxItems and count items.|API4:2023 CWE-799
limits.body-missing|info|POST, PUT or PATCH declares no body|A body that comes anyway is not checked.|Declare it, or say that there is none.|API4:2023 CWE-1059
limits.no-413|info|An operation that takes a file declares no 413|Clients do not know how a bound looks, and there may be none.|Bound it and declare 413.|API4:2023 CWE-770
limits.upload-size|medium|A file without a greatest size|Storage and memory fill up.|Give maxLength.|API4:2023 CWE-434
limits.upload-type|medium|A file of any type|Programs and pages are stored and served.|Give encoding.contentType for the part.|API8:2023 CWE-434
limits.upload-any|medium|A request of any media type|What is not described cannot be checked.|Name the media types.|API8:2023 CWE-434
limits.expand-free|low|A request chooses by free text what is loaded besides|One request becomes hundreds of look-ups.|Give an enum and maxItems.|API4:2023 CWE-770
limits.wait-unbounded|low|A request chooses a time to wait without a bound|A few callers hold all slots.|Give maximum.|API4:2023 CWE-400
errors.no-4xx|medium|An operation declares no refusal|Every refusal is a surprise; errors are made up on the spot.|Declare its 4xx answers.|API8:2023 CWE-394
errors.no-5xx|low|An operation declares no failure|Failures show what the framework prints.|Declare 500 with a closed schema.|API8:2023 CWE-755
errors.no-400|low|An operation with input declares neither 400 nor 422|Clients cannot tell their mistake from the server's.|Declare 400 or 422.|API8:2023 CWE-394
errors.no-404|low|An operation on one object declares no 404|Another status for what is missing shows what exists.|Declare 404.|API1:2023 CWE-204
errors.no-415|info|An operation with a body declares no 415|Other media types may be parsed.|Declare 415.|API8:2023 CWE-436
errors.no-success|medium|An operation declares no success|Nothing of its answers can be checked.|Declare it.|API9:2023 CWE-1059
errors.default-only|low|An operation declares only a default answer|Success and failure look the same.|Declare each status.|API8:2023 CWE-394
errors.verbose|medium|An error carries the inside of the program|Stack traces, queries and paths show attackers the way.|Remove the member; keep it in the log under an id.|API8:2023 CWE-209
errors.no-problem-type|info|An error is JSON of its own kind|Each client parses errors differently.|Use application/problem+json (RFC 9457).|API8:2023 CWE-1059
errors.no-schema|low|An error has no described content|Anything may stand in it.|Describe it with a closed schema.|API8:2023 CWE-209
errors.html|low|An error is HTML|Pages of the framework tell its version, and show what was sent.|Answer problem details.|API8:2023 CWE-79
errors.status-invalid|medium|A key of responses is no status|Tools drop it.|Use a status, 4XX or default.|API8:2023 CWE-1059
errors.no-content|low|A read declares no content|Anything may stand in the answer.|Describe it.|API3:2023 CWE-213
errors.empty-with-content|low|An answer without content declares some|Clients wait for what never comes; proxies disagree.|Remove the content, or use 200.|API8:2023 CWE-436
errors.created-location|info|201 does not say where the new object is|Clients guess its address.|Declare Location.|API9:2023 CWE-1059
errors.redirect-location|low|A redirect does not declare Location|Where it leads is not described.|Declare Location with a pattern.|API8:2023 CWE-601
contract.id-missing|low|An operation has no operationId|Policies, tests and findings cannot name it for long.|Give one.|API9:2023 CWE-1059
contract.id-duplicate|medium|An operationId stands twice|Rules for one are applied to the other.|Rename one.|API9:2023 CWE-1041
contract.id-characters|info|An operationId is no plain word|Tools change it, each its own way.|Use letters, digits, - and _.|API9:2023 CWE-1059
contract.undescribed|info|An operation has neither summary nor description|Reviewers guess what it does.|Describe it.|API9:2023 CWE-1059
contract.untagged|info|An operation has no tag|It belongs to no part of the product, and to nobody.|Give a tag.|API9:2023 CWE-1059
contract.tag-undeclared|info|A tag is not declared|It may be misspelt.|Declare it.|API9:2023 CWE-1059
contract.tag-duplicate|info|A tag is declared twice|One of them was meant to be another.|Remove one.|API9:2023 CWE-1041
contract.no-description|info|The document does not say what the API is for|Nobody can judge what it should not do.|Describe it.|API9:2023 CWE-1059
contract.no-contact|low|The document does not say who answers for the API|Reports of holes reach nobody.|Give info.contact.|API9:2023 CWE-1059
contract.no-version|low|The document has no version|Nobody can tell what is in force.|Give info.version.|API9:2023 CWE-1059
contract.no-licence|info|The document names no licence|Partners do not know what they may do.|Give info.license.|API9:2023 CWE-1059
contract.placeholder|info|A description is a placeholder|It was never written.|Write it.|API9:2023 CWE-1059
contract.ref-broken|medium|A reference leads nowhere|Tools drop what it stands for.|Mend it.|API9:2023 CWE-1059
contract.ref-cycle|medium|A reference leads only to itself|Nothing is described; careless tools never end.|Mend it.|API9:2023 CWE-674
contract.ref-remote|medium|A reference to a document on another host|Whoever holds that host changes your contract.|Keep a copy.|API10:2023 CWE-829
contract.component-unused|low|A component is used nowhere|It is left over, or a reference to it was forgotten.|Remove it.|API9:2023 CWE-1164
contract.component-name|low|The name of a component has characters that are not allowed|References to it break.|Use letters, digits, '.', '-' and '_'.|API9:2023 CWE-1059
contract.path-duplicate|medium|Two paths differ in the names of their parameters only|Which one answers is chance; guards and servers disagree.|Join them.|API9:2023 CWE-436
contract.path-ambiguous|low|Two paths fit the same request|Which one answers is chance; guards and servers disagree.|Make a literal part differ.|API8:2023 CWE-436
contract.path-slash|info|A path ends with a slash|Guards and servers disagree whether it is the one without.|Remove the slash.|API8:2023 CWE-436
contract.path-query|medium|A path holds a query or fragment|No request ever matches it.|Declare query parameters.|API9:2023 CWE-1059
contract.path-form|medium|A path does not begin with a slash|Tools join it wrongly.|Begin it with /.|API9:2023 CWE-1059
contract.path-empty|low|A path has no operation|What was removed is still published.|Remove it.|API9:2023 CWE-1164
contract.path-verb|info|A path names an action|Methods no longer tell reading from changing.|Name the object, and use the method.|API9:2023 CWE-1059
contract.path-param-undeclared|medium|A part of the path is not declared|Nothing of it is checked.|Declare it as a path parameter.|API8:2023 CWE-20
contract.path-param-unused|medium|A path parameter is not in the path|It can never be sent.|Remove it or mend its name.|API9:2023 CWE-1059
contract.path-param-optional|medium|A path parameter is not required|OpenAPI demands it; tools differ.|Write required: true.|API8:2023 CWE-1059
contract.path-param-twice|medium|A path names a parameter twice|Which value counts is chance.|Rename one.|API8:2023 CWE-436
contract.parameter-duplicate|medium|A parameter is declared twice|Which one counts is chance.|Remove one.|API8:2023 CWE-1041
contract.parameter-schema|medium|A parameter has neither schema nor content|Nothing of it is checked.|Give a schema.|API8:2023 CWE-20
contract.parameter-ignored|low|A header parameter that OpenAPI ignores|It looks like a check and is none.|Declare media types in content.|API8:2023 CWE-1059
contract.parameter-in|medium|A parameter is in no known place|Tools drop it.|Use query, header, path or cookie.|API8:2023 CWE-1059
contract.parameter-undescribed|info|A parameter has no description|Reviewers guess what it does.|Describe it.|API9:2023 CWE-1059
contract.body-on-read|low|GET, HEAD or DELETE declares a body|RFC 9110 gives it no meaning: proxies drop it, guards do not look.|Use parameters, or POST.|API8:2023 CWE-436
contract.example-fails|medium|An example does not fit its schema|One of them is wrong; callers try the example first.|Mend it.|API9:2023 CWE-1068
contract.deprecated-undated|low|A deprecated operation does not say when it ends|It stays for ever and nobody looks after it.|Give x-sunset, a Sunset header or a date in the description.|API9:2023 CWE-477
contract.response-undescribed|info|An answer has no description|OpenAPI demands it.|Describe it.|API9:2023 CWE-1059
contract.link-broken|medium|A link names an operation that there is not|Clients follow it into nothing.|Mend it.|API9:2023 CWE-1059
contract.duplicate-key|medium|A key stands twice|Two programs read two contracts.|Remove one.|API8:2023 CWE-1041
contract.unknown-member|low|An operation has a member that OpenAPI does not know|It is misspelt: what it says is ignored.|Mend its name, or begin it with x-.|API9:2023 CWE-1059
contract.get-changes|medium|A GET changes something by its name|Links, prefetching and forged pages trigger it.|Use POST, PUT or DELETE.|API8:2023 CWE-650
contract.media-type|medium|A media type is not well-formed|No request ever matches it.|Mend it.|API8:2023 CWE-1059
contract.encoding-unknown|low|An encoding names a part that there is not|It is misspelt: the part is not checked.|Mend its name.|API8:2023 CWE-1059
contract.method-unsafe|medium|TRACE is declared|It echoes credentials.|Remove it.|API8:2023 CWE-693
version.outdated|low|Swagger 2.0|Tools drop it; it knows no cookies, callbacks or several servers.|Move to OpenAPI 3.1.|API9:2023 CWE-1104
version.unknown|medium|The version of the document is not known|Tools guess how to read it.|Use 2.0, 3.0, 3.1 or 3.2.|API9:2023 CWE-1059
version.unversioned|info|Neither servers nor paths nor parameters name a version|A change breaks every caller at once.|Version it.|API9:2023 CWE-1059
version.mixed|low|Paths of several versions in one document|The old one is where fixes are forgotten.|Deprecate it with a date.|API9:2023 CWE-1125
version.unstable|low|A path of an alpha, beta or experimental version|It is guarded like a draft.|Keep it out of what is published.|API9:2023 CWE-1125
version.debug-path|medium|A path for debugging, tests or internals|It was not meant to be found.|Keep it out of what is published, and closed.|API9:2023 CWE-489
callback.open|medium|A callback declares no credential or signature|The receiver cannot tell who calls.|Declare a scheme or a signature header.|API2:2023 CWE-345
callback.plain|medium|A callback goes to an address without TLS|Data can be read and changed on the way.|Use https.|API8:2023 CWE-319
callback.free-url|medium|Where a callback goes is chosen by the caller without a pattern|The server is sent to the inside of the network.|Give the member format: uri and a pattern, and check the address.|API7:2023 CWE-918
webhook.open|medium|A webhook declares no credential or signature|The receiver cannot tell who calls.|Declare a scheme or a signature header.|API2:2023 CWE-345
async.plain|high|A broker or socket without TLS|Messages can be read and changed on the way.|Use the secure protocol.|API8:2023 CWE-319
async.open|medium|A broker demands no credential|Anyone can read and write.|Declare security for the server.|API2:2023 CWE-306
async.password|low|A broker takes a name and a password|A password that leaks works until somebody notices.|Use certificates or tokens that end.|API2:2023 CWE-522
async.no-payload|medium|A message has no described payload|What is not described cannot be checked.|Give payload.|API8:2023 CWE-20
async.wildcard|low|A channel is a wildcard|Subscribers get what is not meant for them.|Name the channel, with parameters.|API5:2023 CWE-862
`)
