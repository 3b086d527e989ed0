package kubernetes

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	yaml "go.yaml.in/yaml/v4"
)

// serviceAccount is where a pod finds what it needs.
const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount"

// InCluster is the access that a pod has. Its token is read again for each
// request, since the kubelet renews it.
func InCluster() (Access, error) {
	host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return Access{}, errors.New("this process is not in a pod: KUBERNETES_SERVICE_HOST is not set")
	}
	pem, err := os.ReadFile(filepath.Join(serviceAccount, "ca.crt"))
	if err != nil {
		return Access{}, err
	}
	client, err := Client(pem, nil, "", false)
	if err != nil {
		return Access{}, err
	}
	return Access{Server: "https://" + net.JoinHostPort(host, port), Client: client, Token: tokenFile(filepath.Join(serviceAccount, "token"))}, nil
}

func tokenFile(name string) func() (string, error) {
	return func() (string, error) {
		b, err := os.ReadFile(name)
		return strings.TrimSpace(string(b)), err
	}
}

// Client checks the server against the authorities in pem (nil = the system's)
// and shows a certificate where one is given. Redirects are not followed.
func Client(pem []byte, cert *tls.Certificate, name string, insecure bool) (*http.Client, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: name, InsecureSkipVerify: insecure}
	if len(pem) > 0 {
		if c.RootCAs = x509.NewCertPool(); !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("the authority's file holds no certificate")
		}
	}
	if cert != nil {
		c.Certificates = []tls.Certificate{*cert}
	}
	t := &http.Transport{TLSClientConfig: c, ForceAttemptHTTP2: true, TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: 30 * time.Second,
		DialContext: (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext}
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, nil
}

// Kubeconfig reads the current context of a kubeconfig file: tokens, files of
// tokens and client certificates. Programs that it names to get credentials
// are not run.
func Kubeconfig(file string) (Access, error) {
	var a Access
	b, err := os.ReadFile(file)
	if err != nil {
		return a, err
	}
	var k struct {
		Current  string `yaml:"current-context"`
		Contexts []struct {
			Name    string `yaml:"name"`
			Context struct {
				Cluster string `yaml:"cluster"`
				User    string `yaml:"user"`
			} `yaml:"context"`
		} `yaml:"contexts"`
		Clusters []struct {
			Name    string `yaml:"name"`
			Cluster struct {
				Server   string `yaml:"server"`
				CA       string `yaml:"certificate-authority"`
				CAData   string `yaml:"certificate-authority-data"`
				Name     string `yaml:"tls-server-name"`
				Insecure bool   `yaml:"insecure-skip-tls-verify"`
			} `yaml:"cluster"`
		} `yaml:"clusters"`
		Users []struct {
			Name string `yaml:"name"`
			User struct {
				Token     string    `yaml:"token"`
				TokenFile string    `yaml:"tokenFile"`
				Cert      string    `yaml:"client-certificate"`
				CertData  string    `yaml:"client-certificate-data"`
				Key       string    `yaml:"client-key"`
				KeyData   string    `yaml:"client-key-data"`
				Exec      yaml.Node `yaml:"exec"`
			} `yaml:"user"`
		} `yaml:"users"`
	}
	if err := yaml.Unmarshal(b, &k); err != nil {
		return a, fmt.Errorf("%s: not a kubeconfig", file) // its errors may quote secrets
	}
	dir := filepath.Dir(file)
	pem := func(data, name string) ([]byte, error) {
		if data != "" {
			return base64.StdEncoding.DecodeString(data)
		}
		if name == "" {
			return nil, nil
		}
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		return os.ReadFile(name)
	}
	for _, ctx := range k.Contexts {
		if ctx.Name != k.Current {
			continue
		}
		var cert *tls.Certificate
		for _, u := range k.Users {
			if u.Name != ctx.Context.User {
				continue
			}
			if u.User.Exec.Kind != 0 {
				return a, fmt.Errorf("%s: user %s gets its credentials from a program, which is not run; give a token", file, u.Name)
			}
			crt, err1 := pem(u.User.CertData, u.User.Cert)
			key, err2 := pem(u.User.KeyData, u.User.Key)
			if err := errors.Join(err1, err2); err != nil {
				return a, fmt.Errorf("%s: %w", file, err)
			}
			if len(crt) > 0 {
				pair, err := tls.X509KeyPair(crt, key)
				if err != nil {
					return a, fmt.Errorf("%s: %w", file, err)
				}
				cert = &pair
			}
			if u.User.Token != "" {
				token := u.User.Token
				a.Token = func() (string, error) { return token, nil }
			} else if u.User.TokenFile != "" {
				name := u.User.TokenFile
				if !filepath.IsAbs(name) {
					name = filepath.Join(dir, name)
				}
				a.Token = tokenFile(name)
			}
		}
		for _, c := range k.Clusters {
			if c.Name != ctx.Context.Cluster {
				continue
			}
			ca, err := pem(c.Cluster.CAData, c.Cluster.CA)
			if err != nil {
				return a, fmt.Errorf("%s: %w", file, err)
			}
			a.Server = c.Cluster.Server
			a.Client, err = Client(ca, cert, c.Cluster.Name, c.Cluster.Insecure)
			if err != nil {
				return a, fmt.Errorf("%s: %w", file, err)
			}
			return a, nil
		}
	}
	return a, fmt.Errorf("%s: the current context %q has no cluster", file, cmp.Or(k.Current, "none"))
}
