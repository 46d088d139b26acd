package web

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// readiness is something without which this node should get no requests.
type readiness struct {
	name  string
	check func(context.Context) error
	// turn is taken by the check while it runs: one that hangs is not started
	// again and again.
	turn chan struct{}
}

// Ready adds a check to /readyz. check says what is wrong; one that takes more
// than two seconds counts as failed.
func (s *Server) Ready(name string, check func(context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checks = append(s.checks, &readiness{name: name, check: check, turn: make(chan struct{}, 1)})
}

func (s *Server) operatingRoutes() {
	s.engine.GET("/healthz", func(c *gin.Context) { c.JSON(http.StatusOK, gin.H{"status": "ok", "version": s.options.Version}) })
	s.engine.GET("/readyz", s.readyz)
	s.engine.GET("/metrics", gin.WrapH(promhttp.HandlerFor(s.options.Registry, promhttp.HandlerOpts{
		DisableCompression: true, // ServeHTTP compresses
	})))
}

func (s *Server) readyz(c *gin.Context) {
	s.mu.RLock()
	checks := slices.Clone(s.checks)
	s.mu.RUnlock()
	ctx, cancel := context.WithTimeout(c.Request.Context(), 2*time.Second)
	defer cancel()
	problems := make([]chan error, len(checks))
	for i, check := range checks {
		problems[i] = make(chan error, 1)
		go func() {
			select {
			case check.turn <- struct{}{}:
				problems[i] <- check.check(ctx)
				<-check.turn
			case <-ctx.Done():
			}
		}()
	}
	notReady := []string{}
	for i, check := range checks {
		var err error
		select {
		case err = <-problems[i]:
		case <-ctx.Done(): // whether or not the check looks at ctx
			err = ctx.Err()
		}
		if err != nil {
			notReady = append(notReady, check.name)
			s.log.Warn("not ready", "check", check.name, "error", err)
		}
	}
	status := http.StatusOK
	if len(notReady) > 0 {
		status = http.StatusServiceUnavailable
	}
	c.JSON(status, gin.H{"ready": len(notReady) == 0, "not_ready": notReady})
}
