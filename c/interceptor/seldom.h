/* Keep the way of an allocation short: everything on it in one piece, everything else out of it. */
#ifndef HCS_SELDOM_H
#define HCS_SELDOM_H

#define HCS_SELDOM __attribute__((cold, noinline))
#define HCS_IN_ONE_PIECE __attribute__((flatten))

#endif
