package s3

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/tasvir-pacs/tasvir/storage"
)

// Config says where a store is and how to sign in.
type Config struct {
	Endpoint string // host or host:port
	Insecure bool   // plain HTTP instead of HTTPS
	Region   string // "" to ask the server
	Bucket   string
	Prefix   string // put before every key with a "/"; "" for none

	AccessKey    string
	SecretKey    string
	SessionToken string // for temporary credentials
}

// onThisMachine says whether the server has a loopback address.
func (c Config) onThisMachine() bool {
	host, _, err := net.SplitHostPort(c.Endpoint)
	if err != nil {
		host = c.Endpoint
	}
	address, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || err == nil && address.IsLoopback()
}

const form = "s3://BUCKET[/PREFIX]?endpoint=HOST[:PORT][&insecure=true][&region=REGION]"

// ParseURL reads a store's URL of the form
//
//	s3://BUCKET[/PREFIX]?endpoint=HOST[:PORT][&insecure=true][&region=REGION]
//
// Without an endpoint it is Amazon's. getenv (os.Getenv) supplies the
// credentials: TASVIR_S3_ACCESS_KEY and TASVIR_S3_SECRET_KEY, else
// AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN.
func ParseURL(raw string, getenv func(string) string) (Config, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "s3" || u.Host == "" || u.Opaque != "" || u.Fragment != "" {
		return Config{}, fmt.Errorf("the object store's URL must look like %s", form)
	}
	if u.User != nil {
		return Config{}, errors.New("the object store's URL must not hold credentials: put them into TASVIR_S3_ACCESS_KEY and TASVIR_S3_SECRET_KEY")
	}
	c := Config{
		Endpoint:     "s3.amazonaws.com",
		Bucket:       u.Host,
		Prefix:       strings.Trim(u.Path, "/"),
		AccessKey:    getenv("TASVIR_S3_ACCESS_KEY"),
		SecretKey:    getenv("TASVIR_S3_SECRET_KEY"),
		SessionToken: "",
	}
	if c.Prefix != "" {
		if err := storage.CheckKey(c.Prefix); err != nil || len(c.Prefix) > storage.MaxSegment {
			return Config{}, fmt.Errorf("the prefix %q of the object store's URL can't be used: %w", c.Prefix, errors.Join(err, storage.ErrKey))
		}
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return Config{}, fmt.Errorf("the object store's URL must look like %s: %w", form, err)
	}
	for name, values := range query {
		value := values[len(values)-1]
		switch name {
		case "endpoint":
			c.Endpoint = value
		case "region":
			c.Region = value
		case "insecure":
			if c.Insecure, err = strconv.ParseBool(value); err != nil {
				return Config{}, fmt.Errorf("insecure=%s in the object store's URL: write insecure=true or leave it out", value)
			}
		default:
			return Config{}, fmt.Errorf("the object store's URL has an unknown setting %q; known are endpoint, insecure and region", name)
		}
	}
	if c.Endpoint == "" || strings.Contains(c.Endpoint, "/") {
		return Config{}, fmt.Errorf("the endpoint %q of the object store's URL must be HOST or HOST:PORT", c.Endpoint)
	}
	if c.AccessKey == "" && c.SecretKey == "" {
		c.AccessKey, c.SecretKey, c.SessionToken = getenv("AWS_ACCESS_KEY_ID"), getenv("AWS_SECRET_ACCESS_KEY"), getenv("AWS_SESSION_TOKEN")
	}
	if c.AccessKey == "" || c.SecretKey == "" {
		return Config{}, errors.New("the object store needs credentials: set TASVIR_S3_ACCESS_KEY and TASVIR_S3_SECRET_KEY")
	}
	return c, nil
}
