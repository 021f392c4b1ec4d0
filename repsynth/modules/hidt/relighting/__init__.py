"""What `predict` makes of photographs with trained networks: pictures and timelapses in other lights."""
