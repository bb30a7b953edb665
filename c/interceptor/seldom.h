/* Keep the way of an allocation short: everything on it in one piece, everything else out of it.
 * What is seldom is best called last: then nothing has to be kept in registers across the call,
 * and the usual way needs no stack. And an element that is used several times is best written
 * `array + i`: gcc then computes its address once, and that of `&array[i]` with each use. */
#ifndef HCS_SELDOM_H
#define HCS_SELDOM_H

#define HCS_SELDOM __attribute__((cold, noinline))
#define HCS_IN_ONE_PIECE __attribute__((flatten))

#endif
