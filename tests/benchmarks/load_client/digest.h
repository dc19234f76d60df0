/* SHA-256, HMAC-SHA-256 and MD5: what Pusher's signatures take. No library, so that a bare `cc` builds the client. */
#ifndef DIGEST_H
#define DIGEST_H

#include <stddef.h>

/* Lowercase hex of HMAC-SHA-256; `out` has room for 65 bytes. */
void hmac_sha256_hex(const char *key, const char *text, size_t length, char out[65]);

/* Lowercase hex of MD5; `out` has room for 33 bytes. */
void md5_hex(const char *text, size_t length, char out[33]);

#endif
