/* Sources: FIPS 180-4 (SHA-256), RFC 2104 (HMAC), RFC 1321 (MD5). */
#include "digest.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    uint32_t state[8];
    uint64_t length;
    unsigned char block[64];
} sha256;

static const uint32_t K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01,
    0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc,
    0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
    0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08,
    0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
    0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotate_right(uint32_t x, int n) { return (x >> n) | (x << (32 - n)); }

static void sha256_block(uint32_t *state, const unsigned char *p) {
    uint32_t w[64], v[8];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 | (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
    for (int i = 16; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + (rotate_right(a, 7) ^ rotate_right(a, 18) ^ a >> 3) + w[i - 7] +
               (rotate_right(b, 17) ^ rotate_right(b, 19) ^ b >> 10);
    }
    memcpy(v, state, sizeof v);
    for (int i = 0; i < 64; i++) {
        uint32_t s1 = rotate_right(v[4], 6) ^ rotate_right(v[4], 11) ^ rotate_right(v[4], 25);
        uint32_t t1 = v[7] + s1 + ((v[4] & v[5]) ^ (~v[4] & v[6])) + K[i] + w[i];
        uint32_t s0 = rotate_right(v[0], 2) ^ rotate_right(v[0], 13) ^ rotate_right(v[0], 22);
        uint32_t t2 = s0 + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
        memmove(v + 1, v, 7 * sizeof *v);
        v[4] += t1;
        v[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++) state[i] += v[i];
}

static void sha256_start(sha256 *s) {
    static const uint32_t initial[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(s->state, initial, sizeof initial);
    s->length = 0;
}

static void sha256_add(sha256 *s, const void *data, size_t n) {
    const unsigned char *p = data;
    while (n > 0) {
        size_t used = s->length % 64, take = n < 64 - used ? n : 64 - used;
        memcpy(s->block + used, p, take);
        s->length += take, p += take, n -= take;
        if (s->length % 64 == 0) sha256_block(s->state, s->block);
    }
}

static void sha256_end(sha256 *s, unsigned char out[32]) {
    uint64_t bits = s->length * 8;
    unsigned char size[8];
    for (int i = 0; i < 8; i++) size[i] = (unsigned char)(bits >> (56 - 8 * i));
    sha256_add(s, "\x80", 1);
    while (s->length % 64 != 56) sha256_add(s, "", 1);
    sha256_add(s, size, 8);
    for (int i = 0; i < 32; i++) out[i] = (unsigned char)(s->state[i / 4] >> (24 - 8 * (i % 4)));
}

static void to_hex(const unsigned char *digest, size_t n, char *out) {
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = "0123456789abcdef"[digest[i] >> 4];
        out[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
    }
    out[2 * n] = 0;
}

void hmac_sha256_hex(const char *key, const char *text, size_t length, char out[65]) {
    unsigned char pad[64] = {0}, digest[32];
    sha256 s;
    if (strlen(key) > sizeof pad) {
        sha256_start(&s);
        sha256_add(&s, key, strlen(key));
        sha256_end(&s, pad);
    } else {
        memcpy(pad, key, strlen(key));
    }
    for (int i = 0; i < 64; i++) pad[i] ^= 0x36;
    sha256_start(&s);
    sha256_add(&s, pad, 64);
    sha256_add(&s, text, length);
    sha256_end(&s, digest);
    for (int i = 0; i < 64; i++) pad[i] ^= 0x36 ^ 0x5c;
    sha256_start(&s);
    sha256_add(&s, pad, 64);
    sha256_add(&s, digest, 32);
    sha256_end(&s, digest);
    to_hex(digest, 32, out);
}

static void md5_block(uint32_t *state, const unsigned char *p) {
    static const unsigned char shifts[16] = {7, 12, 17, 22, 5, 9, 14, 20, 4, 11, 16, 23, 6, 10, 15, 21};
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    for (unsigned i = 0; i < 64; i++) {
        uint32_t f, word, sum;
        unsigned g;
        if (i < 16) f = (b & c) | (~b & d), g = i;
        else if (i < 32) f = (d & b) | (~d & c), g = (5 * i + 1) % 16;
        else if (i < 48) f = b ^ c ^ d, g = (3 * i + 5) % 16;
        else f = c ^ (b | ~d), g = 7 * i % 16;
        memcpy(&word, p + 4 * g, 4); /* little endian, as the machines this runs on */
        sum = a + f + word + (uint32_t)(int64_t)floor(fabs(sin(i + 1.0)) * 4294967296.0);
        unsigned shift = shifts[i / 16 * 4 + i % 4];
        a = d, d = c, c = b;
        b += sum << shift | sum >> (32 - shift);
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d;
}

void md5_hex(const char *text, size_t length, char out[33]) {
    uint32_t state[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
    size_t whole = length / 64 * 64, rest = length - whole;
    unsigned char tail[128] = {0};
    for (size_t i = 0; i < whole; i += 64) md5_block(state, (const unsigned char *)text + i);
    memcpy(tail, text + whole, rest);
    tail[rest] = 0x80;
    size_t size = rest < 56 ? 64 : 128;
    uint64_t bits = (uint64_t)length * 8;
    memcpy(tail + size - 8, &bits, 8);
    for (size_t i = 0; i < size; i += 64) md5_block(state, tail + i);
    to_hex((const unsigned char *)state, 16, out);
}
