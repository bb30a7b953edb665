"""The vendors' published figures and fault codes as tables; `README.md` beside says where from."""
