// Package dex tries a whole sallyport against Dex, a second real OpenID provider
// beside the oidc-provider of npm. It is run by `make test-full`, which builds Dex
// from its module (github.com/dexidp/dex, Apache-2.0) into .cache/bin.
package dex
