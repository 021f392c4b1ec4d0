"""What a trained generator is asked for: `prediction.predict` carries out one task of `options.SamplingOptions`."""
